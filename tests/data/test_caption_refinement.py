"""What is left of a caption: movements, in whole sentences."""

from __future__ import annotations

import pytest

from peclip.data.caption_refinement import describes_a_face, refine


def test_the_example_of_the_paper() -> None:
    before = (
        "The man in the video displays a surprised expression. The man's mouth is slightly open, "
        "revealing his teeth, and his eyes are squinting, indicating a sense of joy or amusement. The "
        "facial expression is characterized by a slight upturned mouth, and a slight smile, and relaxed "
        "eyebrows. Overall, the combination of these movements conveys happiness."
    )
    after = (
        "The man's mouth is slightly open, revealing his teeth, and his eyes are squinting. The facial "
        "expression is characterized by a slight upturned mouth, and relaxed eyebrows."
    )
    assert refine(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "Her gaze is lowered and her lips tremble, further emphasizing her sadness.",
            "Her gaze is lowered and her lips tremble.",
        ),
        ("His brows are flat and there is no indication of anger.", "His brows are flat."),
        ("His brows are flat, and there is no indication of anger.", "His brows are flat."),
        ("His eyes are wide and fearful.", "His eyes are wide."),
        ("His mouth is open in surprise.", "His mouth is open."),
        ("The eyebrows are raised and the man appears surprised.", "The eyebrows are raised."),
        (
            "The raised eyebrows and open mouth indicate surprise.",
            "The raised eyebrows and open mouth.",
        ),
        (
            "The brows are furrowed while the mouth is pressed, as if he is angry.",
            "The brows are furrowed while the mouth is pressed.",
        ),
        ("His chin drops — a clear sign of fear.", "His chin drops."),
    ],
)
def test_a_concluding_clause_is_removed_and_the_movement_kept(before: str, after: str) -> None:
    assert refine(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "His face shows a happy expression with raised eyebrows and an open mouth.",
            "Raised eyebrows and an open mouth.",
        ),
        ("Smiling, he raises his eyebrows.", "He raises his eyebrows."),
        ("The man, who is sad, opens his mouth.", "The man opens his mouth."),
        (
            "His expression changes from neutral to surprised as his eyes widen.",
            "His eyes widen.",
        ),
        (
            "She seems happy, suggesting that she is content, relaxed, and pleased, while her mouth stays "
            "open.",
            "Her mouth stays open.",
        ),
        (
            "Additionally, the man is breathing quickly, which suggests anxiety.",
            "Additionally, the man is breathing quickly.",
        ),
        (
            "As the video progresses, her mouth opens wide, showing surprise.",
            "As the video progresses, her mouth opens wide.",
        ),
    ],
)
def test_the_remaining_text_is_a_sentence(before: str, after: str) -> None:
    assert refine(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "...",
        "SAD!",
        "and sad.",
        "joy, anger, fear",
        "In the video, the man is sad.",
        "The woman's eyes are filled with sadness.",
        "The combination of these features conveys joy.",
        "The man has a friendly and approachable demeanor.",
    ],
)
def test_a_caption_of_conclusions_alone_becomes_empty(text: str) -> None:
    assert refine(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "The facial expression is characterized by relaxed eyebrows, and the gaze moves to the left.",
        "Something is happening on the saddle; the man is talking.",
        "A woman shouts at the person opposite her. The deep frown,a downward pull on the lip corners.",
    ],
)
def test_a_caption_without_conclusions_is_unchanged(text: str) -> None:
    assert refine(text) == text


def test_lists_become_sentences() -> None:
    text = (
        "1. **Mouth**: The corners are turned up, suggesting joy.\n- **Eyes**: The eyes are narrow."
    )
    assert refine(text) == "Mouth: The corners are turned up. Eyes: The eyes are narrow."


def test_refining_twice_changes_nothing() -> None:
    text = "He opens his mouth, indicating joy, and his brows rise. Smiling, she lowers her chin."
    assert refine(refine(text)) == refine(text) != ""


@pytest.mark.parametrize(
    "text",
    [
        "His eyes are wide.",
        "He is sad.",
        "A slight SMILE",
        "She looks down.",
        "The man is talking.",
    ],
)
def test_a_caption_is_about_a_face(text: str) -> None:
    assert describes_a_face(text)


@pytest.mark.parametrize(
    "text",
    [
        "<html>502</html>",
        "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
        "I'm sorry, I can't help with identifying people.",
        "I cannot tell the emotions or feelings of people in images.",
        "As an AI language model, I am unable to view videos.",
        "",
    ],
)
def test_a_refusal_or_a_page_is_not_about_a_face(text: str) -> None:
    assert not describes_a_face(text)
