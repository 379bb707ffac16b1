import torch

from worker.conditioning.embeddings import Embeddings


def split(text: str, *names: str, vectors: int = 2) -> list[tuple[str, int]]:
    known = Embeddings({name: {32: torch.ones(vectors, 32)} for name in names}, (32,))
    return [piece for piece in known.split(text) if piece[0]]


def test_a_text_without_embeddings_stays_whole() -> None:
    assert split("a red cat") == [("a red cat", 0)]


def test_a_name_is_found_whatever_its_case() -> None:
    assert split("a EasyNEG_v2, b", "EasyNeg_V2") == [("a ", 0), ("easyneg_v2", 2), (", b", 0)]


def test_a_name_inside_a_word_is_only_letters() -> None:
    assert split("aeasynegativeb, easynegatives", "easynegative") == [("aeasynegativeb, easynegatives", 0)]


def test_of_two_names_the_longer_is_meant() -> None:
    assert split("bad-hands-5", "bad-hands", "bad-hands-5") == [("bad-hands-5", 2)]


def test_a_name_may_be_made_of_signs() -> None:
    assert split("a cat, <neon>, C++(x", "<neon>", "c++(x") == [("a cat, ", 0), ("<neon>", 2), (", ", 0), ("c++(x", 2)]


def test_an_embedding_of_another_base_is_left_out() -> None:
    vectors = {
        "sd15": {768: torch.ones(1, 768)},
        "uneven": {768: torch.ones(1, 768), 1280: torch.ones(2, 1280)},
        "wrong": {768: torch.ones(1, 700), 1280: torch.ones(1, 1280)},
        "long": {768: torch.ones(76, 768), 1280: torch.ones(76, 1280)},
        "sdxl": {768: torch.ones(1, 768), 1280: torch.ones(1, 1280)},
    }

    pieces = list(Embeddings(vectors, (768, 1280)).split("sd15 uneven wrong long sdxl"))

    assert [piece for piece in pieces if piece[1]] == [("sdxl", 1)]


def test_the_vectors_are_given_by_row() -> None:
    known = Embeddings({"Neon": {2: torch.tensor([[1.0, 2.0], [3.0, 4.0]])}}, (2,))

    assert known.vector("neon", 1, 2).tolist() == [3.0, 4.0]
