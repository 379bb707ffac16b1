import torch

from worker.conditioning.embeddings import Embedding, Embeddings


def split(text: str, *names: str, vectors: int = 2) -> list[tuple[str, int]]:
    known = Embeddings({name: Embedding(name, {32: torch.ones(vectors, 32)}) for name in names})
    return [(words, len(one) if one else 0) for words, one in known.split(text) if words]


def test_a_text_without_embeddings_stays_whole() -> None:
    assert split("a red cat") == [("a red cat", 0)]


def test_a_name_is_found_whatever_its_case() -> None:
    assert split("a EasyNEG_v2, b", "EasyNeg_V2") == [("a ", 0), ("EasyNEG_v2", 2), (", b", 0)]


def test_all_between_the_names_is_kept() -> None:
    text = "  neon\tcat, ßneon;NEON!"

    assert split(text, "neon", vectors=1) == [("  ", 0), ("neon", 1), ("\tcat, ßneon;", 0), ("NEON", 1), ("!", 0)]


def test_an_embedding_fits_encoders_for_which_it_has_vectors() -> None:
    sdxl = Embedding("neon", {768: torch.ones(2, 768), 1280: torch.ones(2, 1280)})

    assert len(sdxl) == 2
    assert sdxl.fits((768, 1280))
    assert sdxl.fits((768,))
    assert not sdxl.fits((1024,))
