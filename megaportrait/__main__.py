"`megaportrait`, and `python -m megaportrait`"
import sys, warnings
from megaportrait.use.command import finish, leave_at_once, main as command, on_stop, told


def main():
    on_stop(leave_at_once)
    for o in (sys.stdout, sys.stderr): o.reconfigure(errors="backslashreplace")  # names and help in any terminal
    warnings.showwarning = told
    finish(command(ready=on_stop))


if __name__ == "__main__": main()
