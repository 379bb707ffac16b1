from easel.catalog import Base
from tests.fakes.prompts import only, plan, same


def test_editing_changes_the_text_after_its_step() -> None:
    told = plan(Base.SD15, "a [cat:dog:0.4]", steps=5)

    cat, dog = only(plan(Base.SD15, "a cat")), only(plan(Base.SD15, "a dog"))
    assert [same(only(told, step), cat) for step in range(5)] == [True, True, False, False, False]
    assert [same(only(told, step), dog) for step in range(5)] == [False, False, True, True, True]


def test_alternation_takes_turns() -> None:
    told = plan(Base.SD15, "a [cat|dog]", steps=4)

    cat = only(plan(Base.SD15, "a cat"))
    assert [same(only(told, step), cat) for step in range(4)] == [True, False, True, False]


def test_the_negative_prompt_can_be_edited_too() -> None:
    told = plan(Base.SDXL, "cat", "[bad:2]", steps=4)

    assert [bool(told.at(step)[1].embeds.any()) for step in range(4)] == [False, False, True, True]


def test_all_texts_of_a_plan_have_the_same_length() -> None:
    told = plan(Base.SD15, "[cat:red BREAK cat:2] AND dog", "bad", steps=4)

    lengths = {
        text.embeds.shape[1]
        for step in range(4)
        for text in (*(positive for positive, _ in told.at(step)[0]), told.at(step)[1])
    }
    assert lengths == {154}


def test_prompts_joined_by_and_keep_their_weights() -> None:
    told = plan(Base.SD15, "a cat AND a dog :0.5 AND red:-1")

    positives, _ = told.at(0)
    assert [weight for _, weight in positives] == [1.0, 0.5, -1.0]
    assert same(positives[1][0], only(plan(Base.SD15, "a dog")))


def test_and_is_a_word_of_the_negative_prompt() -> None:
    told = plan(Base.SD15, "cat", "red AND blue")

    assert same(told.at(0)[1], only(plan(Base.SD15, "red and blue")))
