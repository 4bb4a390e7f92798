"The page that a Hugging Face Space serves; here: python space/app.py"
from megaportrait.use.space import page

if __name__ == "__main__": page().launch()
