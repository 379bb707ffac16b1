"""Finding models by what people type, and telling what fits what."""

import time

import pytest
from pydantic import ValidationError

from easel.catalog import Base, Catalog, Defaults, ModelCard, ModelKind
from easel.errors import UnknownModel


def card(name: str, kind: ModelKind = ModelKind.CHECKPOINT, **fields: object) -> ModelCard:
    return ModelCard.model_validate({"name": name, "kind": kind, **fields})


def lora(name: str, **fields: object) -> ModelCard:
    return card(name, ModelKind.LORA, **fields)


def found(catalog: Catalog, typed: str, **options: object) -> list[str]:
    return [one.name for one in catalog.search(ModelKind.LORA, typed, **options)]  # type: ignore[arg-type]


def test_an_unknown_checkpoint_names_the_nearest_one() -> None:
    catalog = Catalog([card("sd15"), card("dreamshaper"), card("juggernaut")])

    with pytest.raises(UnknownModel, match=r"no checkpoint called `sd1\.5`\. Did you mean `sd15`\?") as caught:
        catalog.checkpoint("sd1.5")

    assert caught.value.nearest == ("sd15",)


def test_at_most_three_names_are_offered_the_likest_first() -> None:
    catalog = Catalog([card(f"dreamshaper-{number}") for number in range(9)] + [card("pixel")])

    with pytest.raises(UnknownModel) as caught:
        catalog.checkpoint("dreamshaper-88")

    assert len(caught.value.nearest) == 3
    assert caught.value.nearest[0] == "dreamshaper-8"


def test_a_name_like_no_other_is_still_offered_something_while_there_is_something() -> None:
    with pytest.raises(UnknownModel, match="Did you mean `sd15`"):
        Catalog([card("sd15")]).checkpoint("zzzzzzzz")


def test_an_empty_catalog_says_so() -> None:
    with pytest.raises(UnknownModel, match="There is no LoRA installed yet"):
        Catalog().model(ModelKind.LORA, "x")
    with pytest.raises(UnknownModel, match="There is no checkpoint installed yet"):
        _ = Catalog().default_checkpoint


@pytest.mark.parametrize(
    "typed", ["Dream-Shaper", "dream-shaper", "DREAM_shaper", "dream shaper", "ds", "DS", "Dream Shaper 8"]
)
def test_name_alias_and_title_all_find_it_however_they_are_written(typed: str) -> None:
    catalog = Catalog([card("other"), card("Dream-Shaper", aliases=("ds",), title="Dream Shaper 8")])

    assert catalog.checkpoint(typed).name == "Dream-Shaper"


def test_what_is_typed_exactly_wins_over_what_is_merely_alike() -> None:
    catalog = Catalog([card("Anime"), card("anime"), card("a", title="b"), card("b", aliases=("anime",))])

    assert catalog.checkpoint("anime").name == "anime"
    assert catalog.checkpoint("Anime").name == "Anime"
    assert catalog.checkpoint("b").name == "b"


def test_kinds_do_not_mix() -> None:
    catalog = Catalog([card("x"), lora("x"), lora("y")])

    assert catalog.model(ModelKind.LORA, "x").kind is ModelKind.LORA
    with pytest.raises(UnknownModel):
        catalog.checkpoint("y")


@pytest.mark.parametrize(
    "typed", ["../../etc/passwd", "a/b", "a\x00b", "..", ".", "", "  ", "[]", "a" * 100_000, "\ud800"]
)
def test_what_is_no_name_finds_nothing(typed: str) -> None:
    with pytest.raises(UnknownModel):
        Catalog([card("sd15")]).checkpoint(typed)


@pytest.mark.parametrize("name", ["", " a", "a ", "..", ".", "a/b", "a\\b", "a\x00b", "a\nb", "x" * 201])
def test_a_card_refuses_what_can_not_be_typed(name: str) -> None:
    with pytest.raises(ValidationError):
        card(name)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a\\b", "a\x00", "C:/x", "C:x", "//server/share"])
def test_a_card_refuses_a_path_that_leaves_its_folder(path: str) -> None:
    with pytest.raises(ValidationError):
        card("a", path=path)
    with pytest.raises(ValidationError):
        card("a", preview=path)


def test_two_cards_of_one_kind_can_not_share_a_name() -> None:
    with pytest.raises(ValueError, match="called `a`"):
        Catalog([card("a"), card("b"), card("a")])


def test_the_default_is_the_named_one_else_the_demo_else_the_first() -> None:
    cards = [card("b"), card("a"), card("easel-demo")]

    assert Catalog(cards, default="b").default_checkpoint.name == "b"
    assert Catalog(cards, default="gone").default_checkpoint.name == "easel-demo"
    assert Catalog(cards).default_checkpoint.name == "easel-demo"
    assert Catalog(cards[:2]).default_checkpoint.name == "a"


def test_a_default_whose_file_is_missing_gives_way_to_one_that_is_there() -> None:
    catalog = Catalog([card("a"), card("easel-demo", root="0")], default="a")

    assert catalog.default_checkpoint.name == "easel-demo"


def test_search_ranks_whole_then_prefix_then_word_then_piece() -> None:
    catalog = Catalog([lora("xxneonxx"), lora("city neon"), lora("neon-city"), lora("neon"), lora("other")])

    assert found(catalog, "neon") == ["neon", "neon-city", "city neon", "xxneonxx"]


def test_search_forgives_typing_errors_only_where_nothing_else_fits() -> None:
    catalog = Catalog([lora("pencil-sketch"), lora("penguin"), lora("watercolour")])

    assert found(catalog, "pencl sktech")[0] == "pencil-sketch"
    assert found(catalog, "pen") == ["pencil-sketch", "penguin"]
    assert found(catalog, "qqqq") == []


def test_words_may_stand_in_any_order() -> None:
    catalog = Catalog([lora("neon_city_v2"), lora("neon_girl")])

    assert found(catalog, "city neon") == ["neon_city_v2"]


def test_warm_ones_come_first_only_among_equals() -> None:
    catalog = Catalog([lora("neon-a"), lora("neon-b"), lora("a neon")])

    assert found(catalog, "neon", warm={"neon-b", "a neon"}) == ["neon-b", "neon-a", "a neon"]


def test_what_fits_the_base_comes_first_then_the_unknown() -> None:
    catalog = Catalog([lora("neon", base="sd15"), lora("my neon", base="sdxl"), lora("a neon")])

    assert found(catalog, "neon", base=Base.SDXL) == ["my neon", "a neon", "neon"]


def test_an_empty_search_lists_the_beginning() -> None:
    catalog = Catalog([lora(f"l{number:02}") for number in range(40)])

    assert found(catalog, "", limit=3) == ["l00", "l01", "l02"]
    assert found(catalog, " ", limit=2, warm={"l07"}) == ["l07", "l00"]
    assert len(found(catalog, "l")) == 25


def test_other_scripts_are_found_too() -> None:
    catalog = Catalog([lora("動漫風格"), lora("ＦＵＬＬ"), lora("Straße")])

    assert found(catalog, "風格") == ["動漫風格"]
    assert found(catalog, "full") == ["ＦＵＬＬ"]
    assert catalog.model(ModelKind.LORA, "strasse").name == "Straße"


@pytest.mark.parametrize(
    "typed", ["", "d", "dream anime", "deram anmie", "dream_anime_real_vx", "x" * 300, "v4999", "dream " * 60]
)
def test_five_thousand_cards_answer_while_a_person_types(typed: str) -> None:
    words = ["dream", "anime", "real", "cyber", "vision", "mix", "turbo", "style", "city", "neon"]
    names = (f"{words[n % 10]}_{words[n // 10 % 10]}_{words[n // 100 % 10]}_v{n}" for n in range(5000))
    catalog = Catalog([lora(name, title=name.replace("_", " ").title()) for name in names])
    times = []
    for _ in range(5):
        started = time.thread_time()
        catalog.search(ModelKind.LORA, typed, base=Base.SDXL)
        times.append(time.thread_time() - started)

    # 10 ms on a free core; five times that on a busy one.
    assert min(times) < 0.05


@pytest.mark.parametrize(
    ("network", "checkpoint", "fits"),
    [
        (lora("l", base="sdxl"), card("c", base="sd15"), False),
        (lora("l", base="sdxl"), card("c", base="sdxl"), True),
        (lora("l"), card("c", base="sd15"), True),
        (lora("l", context_dim=768), card("c", base="sd15", context_dim=192), False),
        (lora("l", base="sd15", context_dim=192), card("c", base="sd15", context_dim=192), True),
        (card("v", ModelKind.VAE, base="sd15"), card("c", base="sd2"), True),
        (card("v", ModelKind.VAE, base="sdxl"), card("c", base="sd2"), False),
        (card("u", ModelKind.UPSCALER, base="sdxl"), card("c", base="sd15"), True),
    ],
)
def test_a_network_fits_checkpoints_of_its_base_and_width(
    network: ModelCard, checkpoint: ModelCard, fits: bool
) -> None:
    assert network.fits(checkpoint) is fits


def test_a_card_travels_as_json() -> None:
    full = card(
        "a", base="sdxl", roles=(12345678901234567,), defaults=Defaults(steps=8), trigger_words=("x",), nsfw=True
    )

    assert ModelCard.model_validate_json(full.model_dump_json()) == full
    assert full.roles == ("12345678901234567",)


def test_a_label_is_the_title_or_else_the_name() -> None:
    assert card("a", title="A").label == "A"
    assert card("a").label == "a"
