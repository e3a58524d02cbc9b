"""What runs are called."""

from tasks.tracking.words import name_of_stem, name_with_changes


def test_of_many_changes_the_last_are_told_which_are_what_is_tried():
    asked = ["training.steps=800", "training.batch_size=4", "generation.seconds=8", "mix.gains_db.drums=-3"]
    first, second = [*asked, "stems.drums.training.seed=1"], [*asked, "stems.drums.training.seed=2"]
    assert name_with_changes("demo", first) == "demo (seconds=8, drums=-3, drums.seed=1 and 2 more)"
    assert name_of_stem("drums", "demo", second) == "drums, batch_size=4, seconds=8, seed=2 and 1 more (demo)"
    assert name_with_changes("demo", []) == "demo"
