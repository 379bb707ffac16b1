"""Models folders, a models file and a data folder of one test, and what a library makes of them."""

from pathlib import Path
from textwrap import dedent

from easel.catalog import Catalog, ModelKind
from easel.library import load_catalog
from easel.settings import Settings


class Place:
    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        self.roots = [self.models]
        self.file = folder / "models.yaml"
        self.data = folder / "data"
        self.models.mkdir(parents=True, exist_ok=True)

    def says(self, text: str) -> None:
        self.file.write_text(dedent(text))

    def load(self) -> tuple[Catalog, list[str]]:
        return load_catalog(self.roots, self.file, self.data, allow_pickles=True)

    def catalog(self) -> Catalog:
        catalog, problems = self.load()
        assert problems == []
        return catalog

    def settings(self) -> Settings:
        return Settings(models_dir=tuple(self.roots), models_file=self.file, data_dir=self.data)


def names(catalog: Catalog, kind: ModelKind = ModelKind.CHECKPOINT) -> list[str]:
    return [card.name for card in catalog.cards(kind)]
