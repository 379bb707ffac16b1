"""Everyone who reads infotext must find the same in ours: A1111, sd-parsers, sd-prompt-reader, Civitai, ourselves.

A1111, sd-prompt-reader 1.3.5 and Civitai are retold here from what their programs do; sd-parsers is the package.
"""

import json
import random
import re
from typing import Any

import pytest
from sd_parsers.parsers import AUTOMATIC1111Parser

from easel.infotext.text import ModelFacts, describe, parse, tidy
from easel.jobs import MAX_SEED, ImageRequest

LISTINGS = {"Lora hashes", "TI hashes"}

PIECES = (
    "a lighthouse", "(storm:1.2)", "[fog]", "\\(beta\\)", "<lora:storm:0.8>", "<lora:嵐:1>", "BREAK", "AND", "猫", "😀", "é", "ﾈｺ",
    ", ", ": ", '"', "'", "\\", "\n", "\n\n", "\r\n", "\t", "  ", "\u3000", "\u00a0", "\u2028", "{a|b}", "{}", "}", "__wild__",
    "Negative prompt:", "Negative prompt: x", "\nNegative prompt: y", "\nSteps: 1, Sampler: DDIM, CFG scale: 2, Seed: 3",
    "Steps: 9", "\nSteps: 9", "Size: 1x1", 'Hashes: {"model": "00"}', "Model: z", "\nTemplate: t", "\nNegative Template: t", "\x00", "\x7f",
)  # fmt: skip

NAME_PIECES = (
    "storm", "Coast v1.2", "a", "猫", "嵐_v2", "é", "😀", " ", ", ", ",", ":", ": ", '"', "\\", "'", "{", "}", "[", "(1)", "-", "_", "/", ".",
    "\t", "512x512", "Seed: 5", "Steps", "Model", "Hashes: {", "\\u002c", "\\n",
)  # fmt: skip


def a_text(dice: random.Random, pieces: tuple[str, ...], most: int) -> str:
    return "".join(dice.choices(pieces, k=dice.randint(0, most)))


def a_name(dice: random.Random) -> str:
    return a_text(dice, NAME_PIECES, 5) or "plain"


def a_hash(dice: random.Random, digits: int) -> str:
    return f"{dice.getrandbits(4 * digits):0{digits}x}"


def a_job(dice: random.Random) -> tuple[ImageRequest, ModelFacts]:
    request = ImageRequest(
        prompt=a_text(dice, PIECES, 12),
        negative_prompt=a_text(dice, PIECES, 8),
        checkpoint=a_name(dice),
        width=dice.randrange(64, 2049, 8),
        height=dice.randrange(64, 2049, 8),
        steps=dice.randint(1, 150),
        cfg_scale=dice.choice([1, 7, 7.5, round(dice.uniform(1, 30), 3)]),
        sampler=dice.choice(["Euler a", "DPM++ 2M", "DPM++ 2M SDE Heun", "UniPC", "DDIM"]),
        schedule=dice.choice(["Automatic", "Karras", "SGM Uniform", "Beta"]),
        seed=dice.randint(0, MAX_SEED),
        clip_skip=dice.choice([1, 2, 12]),
        rng=dice.choice(["cpu", "nv"]),
        variation_seed=dice.randint(0, MAX_SEED),
        variation_strength=dice.choice([0, 0.1, 1]),
        tiling=dice.random() < 0.2,
        guidance_rescale=dice.choice([0, 0.7]),
        enlarge=dice.choice([1, 2]),
    )
    facts = ModelFacts(
        checkpoint=request.checkpoint,
        checkpoint_hash=dice.choice(["", a_hash(dice, 10)]),
        vae=dice.choice(["", a_name(dice)]),
        vae_hash=dice.choice(["", a_hash(dice, 10)]),
        lora_hashes={a_name(dice): a_hash(dice, 12) for _ in range(dice.randint(0, 4))},
        embedding_hashes={a_name(dice): a_hash(dice, 12) for _ in range(dice.randint(0, 3))},
        version="easel 0.1.0",
    )
    return request, facts


def unquoted(value: str) -> str:
    return str(json.loads(value)) if len(value) > 1 and value[0] == value[-1] == '"' else value


A1111_SETTING = re.compile(r'\s*(?P<name>\w[\w /-]+):\s*(?P<value>"(?:[^"\\]|\\.)+"|[^,]*)(?:,|$)')


def a1111(text: str) -> tuple[str, str, dict[str, str]]:
    """`parse_generation_parameters`, by its regular expression."""
    head, _, last = text.strip().rpartition("\n")
    pairs = A1111_SETTING.findall(last)
    if len(pairs) < 3:
        head, pairs = f"{head}\n{last}" if "\n" in text.strip() else last, []
    found = ["", ""]
    negative = 0
    for line in (line.strip() for line in head.split("\n")):
        marked = line.startswith("Negative prompt:")
        negative = 1 if marked else negative
        rest = line[16:].strip() if marked else line
        found[negative] += ("\n" if found[negative] else "") + rest
    settings = {}
    for name, value in pairs:
        try:
            settings[name] = unquoted(value)
        except ValueError:
            settings[name] = value
    return found[0], found[1], settings


def sd_prompt_reader(text: str) -> tuple[str, str, dict[str, str]]:
    """`format/a1111.py`: the first line that begins with "Steps:" parts it, of equal settings the first counts."""
    steps, negative_at = text.find("\nSteps:"), text.find("\nNegative prompt:")
    negative = ""
    prompt = text[:steps].strip()
    if "Negative prompt:" in text:
        negative = text[negative_at + 17 : steps].strip()
        prompt = text[:negative_at].strip()
    settings: dict[str, str] = {}
    for name, value in re.findall(r"\s*([^:,]+):\s*([^,]+)", text[steps:].strip()):
        settings.setdefault(name, value)
    return prompt, negative, settings


def civitai_details(line: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = value = ""
    quoted = False
    for letter in line:
        if letter == '"':
            if quoted:
                found[name] = civitai_details(value.strip())
                name = ""
            quoted = not quoted
        elif letter == ":" and not quoted:
            name, value = value.strip(), ""
        elif letter == "," and not quoted:
            if name:
                found[name] = value.strip()
            name = value = ""
        else:
            value += letter
    if name:
        found[name] = value.strip()
    return found


def civitai(text: str) -> tuple[str, str, dict[str, Any]]:
    """`automatic.metadata.ts`: the first line with steps, bare JSON cut out, a quoted value is a list of its own."""
    lines = [line for line in text.split("\n") if line.strip()]
    assert not any(line.startswith(("Template: ", "Negative Template: ")) for line in lines)
    details = next(line for line in lines if line.startswith("Steps: "))
    lines.remove(details)
    hashes = re.search(r", Hashes:\s*({[^}]+})", details)
    settings: dict[str, Any] = {}
    if hashes:
        settings["Hashes"] = json.loads(hashes[1])
        details = details.replace(hashes[0], "", 1)
    settings |= civitai_details(details)
    prompt, *negative = (part.strip() for part in "\n".join(lines).split("Negative prompt:"))
    return prompt, " ".join(negative).strip(), settings


def sd_parsers(text: str) -> tuple[str, str, dict[str, Any]]:
    info = AUTOMATIC1111Parser(normalize_parameters=False).parse({"parameters": text})
    sampler = info.samplers[0]
    assert sampler.model is not None
    model = {"Model": sampler.model.name, "Model hash": sampler.model.hash}
    settings = {"Sampler": sampler.name, **sampler.parameters, **model, **info.metadata}
    prompts = ["".join(map(str, part)) for part in (sampler.prompts, sampler.negative_prompts)]
    return prompts[0], prompts[1], {name: value for name, value in settings.items() if value is not None}


def without_blank_lines(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if line)


JOBS = 1000


def test_five_readers_find_the_same_in_a_thousand_texts_of_ours() -> None:
    dice = random.Random(20)
    for _ in range(JOBS):
        request, facts = a_job(dice)
        text = describe(request, facts)
        ours = parse(text)
        hashes = json.loads(ours.settings["Hashes"]) if "Hashes" in ours.settings else None

        assert (ours.prompt, ours.negative_prompt) == (tidy(request.prompt), tidy(request.negative_prompt))
        prompt, negative, settings = a1111(text)
        assert (prompt, negative) == (ours.prompt, ours.negative_prompt)
        assert {name: settings[name] for name in ours.settings if name != "Hashes"} == {
            name: value for name, value in ours.settings.items() if name != "Hashes"
        }
        assert settings.keys() - ours.settings.keys() <= {"lora", "embed"}

        prompt, negative, settings = sd_parsers(text)
        assert (prompt, negative) == (ours.prompt, ours.negative_prompt)
        assert settings.get("Hashes") == hashes
        for name, value in ours.settings.items():
            assert name in {"Hashes", *LISTINGS} or unquoted(settings[name]) == value

        if ours.prompt:  # it looks for a line break before each mark
            prompt, negative, settings = sd_prompt_reader(text)
            assert (prompt, negative) == (ours.prompt, ours.negative_prompt)
            for name in ("Model", "Sampler", "Seed", "CFG scale", "Steps", "Size"):
                assert unquoted(settings[name]) == ours.settings[name]

        prompt, negative, details = civitai(text)
        assert (prompt, negative) == tuple(map(without_blank_lines, (ours.prompt, ours.negative_prompt)))
        assert details.get("Hashes") == hashes
        for name, value in ours.settings.items():
            if name in LISTINGS:
                assert ", ".join(f"{lora}: {digits}" for lora, digits in details[name].items()) == value
            elif name != "Hashes" and not re.search('[,:"\t]|^ | $', value):  # it takes quoted words for lists
                assert details[name] == value


def test_what_was_written_holds_what_was_asked() -> None:
    dice = random.Random(21)
    for _ in range(JOBS):
        request, facts = a_job(dice)

        settings = parse(describe(request, facts)).settings

        assert settings["Model"] == facts.checkpoint
        assert settings.get("VAE", "") == facts.vae
        assert settings["Seed"] == str(request.seed)
        assert float(settings["CFG scale"]) == request.cfg_scale
        expected = {"model": facts.checkpoint_hash, "vae": facts.vae_hash}
        expected |= {f"lora:{name}": digits for name, digits in facts.lora_hashes.items()}
        expected |= {f"embed:{name}": digits for name, digits in facts.embedding_hashes.items()}
        assert json.loads(settings.get("Hashes", "{}")) == {name: digits for name, digits in expected.items() if digits}


STRANGE = (
    "ab", "a", "-", "/", "猫", "(", "1x1", " ", "  ", "\t", ":", ": ", ",", ", ", ", ab: ", ', cd:"', '"', '",', '""', "\\", '\\"',
)  # fmt: skip
STRANGE_LINES = ("\n", "\r\n", "\nNegative prompt:", "Negative prompt: ", "Steps: 1, Seed: 2, Size: 8x8")


@pytest.mark.parametrize("seed", range(4))
def test_texts_of_others_are_read_as_a1111_reads_them(seed: int) -> None:
    dice = random.Random(seed)
    with_settings = 0
    for _ in range(2000):
        text = a_text(dice, STRANGE + STRANGE_LINES, 12) + "\n" * dice.randint(0, 1) + a_text(dice, STRANGE, 40)

        info = parse(text)

        assert (info.prompt, info.negative_prompt, info.settings) == a1111(text)
        with_settings += len(info.settings) >= 3
    assert with_settings > 250
