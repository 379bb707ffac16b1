"""A worker's library as a process of its own: `python -m tests.fakes.library_peer FOLDER REDIS_URL`, a line per change."""

import json
import sys
import time
from pathlib import Path

from easel.job_queue.catalog import CatalogBoard
from easel.job_queue.connect import impatient
from easel.shared_library import Role, SharedLibrary
from tests.fakes.model_place import Place

KEY = b"k" * 32


def peer(place: Place, url: str, role: Role) -> SharedLibrary:
    return SharedLibrary(place.settings().changed(redis_url=url), CatalogBoard(impatient(url), key=KEY), role=role)


def main(folder: str, url: str) -> None:
    library = peer(Place(Path(folder)), url, "worker")
    library.start()
    told = None
    while True:
        said = {
            "generation": library.generation,
            "titles": {card.name: card.title for card in library.catalog.all},
            "here": [card.name for card in library.catalog.all if card.root],
        }
        if said != told:
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()
            told = said
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
