"`megaportrait`, and `python -m megaportrait`"
from megaportrait.use.command import finish, main as command


def main(): finish(command())


if __name__ == "__main__": main()
