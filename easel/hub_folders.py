"""The cache that Hugging Face's library keeps: `models--ORG--NAME/snapshots/REVISION`, its files links into `blobs`."""

from pathlib import Path, PurePosixPath

HUB = "models--"

_MAX_REF = 100


def is_hub_folder(name: str) -> bool:
    return name.startswith(HUB)


def current_revision(folder: Path) -> str:
    """Return the revision of a repository's folder to use: that of `main`, else the newest; "" where there is none."""
    try:
        revisions = {one.name: one.stat().st_mtime_ns for one in (folder / "snapshots").iterdir() if one.is_dir()}
    except OSError:
        return ""
    try:
        with (folder / "refs" / "main").open("rb") as file:
            main = file.read(_MAX_REF).decode("ascii", "replace").strip()
    except OSError:
        main = ""
    return main if main in revisions else max(revisions, key=lambda one: (revisions[one], one), default="")


def repository(place: PurePosixPath) -> PurePosixPath:
    """Return `ORG/NAME` for the folder of a revision, any other place unchanged."""
    folder = place.parent.parent.name
    if place.parent.name != "snapshots" or not is_hub_folder(folder):
        return place
    return PurePosixPath(folder.removeprefix(HUB).replace("--", "/"))
