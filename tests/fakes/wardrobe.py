"""A catalog with networks of two bases, VAEs, a checkpoint that only repaints, and models that are kept for some."""

from easel.catalog import Base, Catalog, Defaults, ModelCard, ModelKind

KEPT_CHAT, KEPT_ROLE = "4242", "7777"
SHA = {"film": "ab" * 32, "bad": "cd" * 32, "clear": "ef" * 32}


def card(name: str, kind: ModelKind, base: Base | None = Base.SD15, **facts: object) -> ModelCard:
    """Return the card of a file that is here."""
    return ModelCard.model_validate(
        {"name": name, "kind": kind, "base": base, "path": f"{kind}/{name}.safetensors", "root": "0"} | facts
    )


def wardrobe(*more: ModelCard) -> Catalog:
    checkpoint, lora, embedding = ModelKind.CHECKPOINT, ModelKind.LORA, ModelKind.EMBEDDING
    return Catalog(
        [
            card("coast", checkpoint),
            card("dreamy-xl", checkpoint, Base.SDXL, defaults=Defaults(vae="xl-vae")),
            card("mender", checkpoint, in_channels=9),
            card("hills", checkpoint),
            card("hills.vae", ModelKind.VAE, path="checkpoint/hills.vae.safetensors"),
            card("clear", ModelKind.VAE, sha256=SHA["clear"]),
            card("xl-vae", ModelKind.VAE, Base.SDXL),
            card("add_detail", lora, title="Detail Tweaker", trigger_words=("detailed",)),
            card("film", lora, autov3=SHA["film"][:12]),
            card("ink, wash", lora),
            card("ink__wash__v2", lora),
            card("a:b", lora, aliases=("a_b",)),
            card("xl-film", lora, Base.SDXL),
            card("gold", ModelKind.HYPERNETWORK),
            card("bad-hands", embedding, sha256=SHA["bad"]),
            card("xl-glow", embedding, Base.SDXL),
            card("gone", lora, root="", path=""),
            card("secret", lora, chats=(KEPT_CHAT,)),
            card("members", lora, roles=(KEPT_ROLE,)),
            card("bare", checkpoint, nsfw=True),
            card("bare-word", embedding, nsfw=True),
            *more,
        ],
        default="coast",
    )  # fmt: skip
