"""The numbers behind the figures of runs, by hand, and what the figures show of them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from peclip.errors import ConfigError
from peclip.metrics.calibration_error import calibration_bins
from peclip.metrics.comparison import compare
from peclip.metrics.figures.confusion import row_shares
from peclip.metrics.figures.curves import curves_of
from peclip.metrics.figures.plot_data import PlotData, of_predictions
from peclip.metrics.figures.recall import recalls_of
from peclip.metrics.figures.registry import FIGURES, check_names, draw_figure
from peclip.metrics.figures.reliability import bins_of
from peclip.metrics.figures.titles import class_names
from peclip.metrics.figures.tsne import looks_of
from peclip.metrics.intervals import wilson
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.scoring import score
from peclip.metrics.video_features import VideoFeatures

ENTRY = {"loss": 1.0, "uar": 50.0, "war": 60.0}


def data_of(num_classes: int, num_videos: int) -> PlotData:
    """Predictions of long labels, some of them with dollar signs, and features."""
    names = [f"class {n} with a long name, ${n}" for n in range(num_classes)]
    random = np.random.default_rng(0)
    ids = [f"v{n}" for n in range(num_videos)]
    targets = [names[n % num_classes] for n in range(num_videos)]
    scores = random.dirichlet(np.ones(num_classes), num_videos)
    table = PredictionTable.most_likely(ids, targets, names, scores)
    features = random.normal(size=(num_videos, 8)).astype(np.float32)
    return PlotData(
        "dfew fold 1 test",
        "run dfew: pe-clip on ViT-B-16-quickgelu",
        table,
        score(table),
        histories={"": [{"epoch": n, "train": ENTRY, "val": ENTRY} for n in (1, 2)]},
        selected={"": 2},
        features=VideoFeatures(tuple(ids), tuple(targets), features),
        comparison=compare(table, table),
        warning="Too high.",
    )


# Numbers ----------------------------------------------------------------------------------------


def test_wilson_intervals_are_those_of_the_literature() -> None:
    """8 of 10, none and all of 10, by the formula of Wilson (1927) with z = 1.96."""
    low, high = wilson([8, 0, 10, 0], [10, 10, 10, 0])
    assert low[:3] == pytest.approx([0.4902, 0, 0.7225], abs=1e-4)
    assert high[:3] == pytest.approx([0.9433, 0.2775, 1], abs=1e-4)
    assert np.isnan([low[3], high[3]]).all()


def test_calibration_bins_by_hand() -> None:
    """Four bins; 0.5 is in the second one, and the last one is empty."""
    bins = calibration_bins([0.1, 0.5, 0.3, 0.6], [1, 0, 1, 1], num_bins=4)
    assert bins.counts.tolist() == [1, 2, 1, 0]
    assert bins.hits.tolist() == [1, 1, 1, 0]
    assert bins.confidences[:3] == pytest.approx([0.1, 0.4, 0.6])
    assert bins.accuracies[:3] == pytest.approx([1, 0.5, 1])
    assert np.isnan([bins.accuracies[3], bins.confidences[3]]).all()
    assert bins.error == pytest.approx((1 * 0.9 + 2 * 0.1 + 1 * 0.4) / 4)


def test_the_diagram_has_the_calibration_error_of_the_score() -> None:
    """A video whose target the model does not have is in neither."""
    found = data_of(7, 60)
    assert found.table is not None
    targets = ("unknown", *found.table.targets[1:])
    table = replace(found.table, targets=targets)
    bins = bins_of(table)
    assert bins.counts.sum() == 59
    assert bins.error == pytest.approx(score(table).ece)


def test_rows_of_the_confusion_matrix_are_per_cent_of_the_true_class() -> None:
    table = PredictionTable(
        ("a", "b", "c", "d"), ("x", "x", "x", "x"), ("x", "x", "x", "y"), None, ()
    )
    shares = row_shares(score(table, ["x", "y"]))
    assert shares[0].tolist() == [75, 25]
    assert np.isnan(shares[1]).all(), "a class without videos has no percentage"


def test_recalls_and_their_intervals() -> None:
    table = PredictionTable(tuple("abcdefghij"), ("x",) * 10, ("x",) * 8 + ("y",) * 2)
    recalls = recalls_of(score(table, ["x", "y"]))
    assert recalls.values[0] == 0.8
    assert (recalls.low[0], recalls.high[0]) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert np.isnan([recalls.values[1], recalls.low[1]]).all()
    assert recalls.videos.tolist() == [10, 0]


def test_curves_leave_out_what_no_epoch_has() -> None:
    history = [
        {"epoch": 1, "train": {"loss": 2.0, "uar": 30.0, "war": 40.0}},
        {"epoch": 2, "train": {"loss": 1.0, "uar": 35.0, "war": 45.0}, "val": {"loss": 1.5}},
    ]
    curves = curves_of(history)
    assert curves["loss"] == {"train": ([1, 2], [2.0, 1.0]), "val": ([2], [1.5])}
    assert curves["uar"] == {"train": ([1, 2], [30.0, 35.0])}
    assert curves["war"] == {"train": ([1, 2], [40.0, 45.0])}


@pytest.mark.parametrize("number", [7, 43, 100])
def test_each_class_has_its_own_colour_and_marker(number: int) -> None:
    looks = looks_of(["happiness", "fear", *(f"label {n}" for n in range(number - 2))])
    assert len(looks) == number
    assert len(set(looks.values())) == min(number, len(set(looks.values()))) >= min(number, 43)


# Figures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_classes", "num_videos"),
    [(7, 40), pytest.param(43, 90, marks=pytest.mark.slow), (7, 3)],
)
def test_figures_are_complete_and_state_their_facts(num_classes: int, num_videos: int) -> None:
    data = data_of(num_classes, num_videos)
    for name in FIGURES:
        figure = draw_figure(name, data)
        figure.savefig(io.BytesIO(), format="png")
        title = figure.get_suptitle().replace("\n", " ")
        assert "dfew fold 1 test" in title, name
        assert "pe-clip on ViT-B-16-quickgelu" in title, name
        assert f"n = {num_videos} " in title, name
        assert "see the warning in report.json" in title or name == "tsne"
        check_nothing_is_cut_off(figure, name)


def check_nothing_is_cut_off(figure: Figure, name: str) -> None:
    whole = figure.bbox
    for text in figure.findobj(Text):
        # A number may be that of a tick beyond the limits of the axis, which is not drawn.
        if text.get_visible() and text.get_text().strip("−-.,0123456789"):
            box = text.get_window_extent()
            inside = (
                box.x0 >= -2 and box.x1 <= whole.x1 + 2 and box.y0 >= -2 and box.y1 <= whole.y1 + 2
            )
            assert inside, (name, text.get_text(), box)


def test_short_class_names_differ_from_each_other() -> None:
    long = [f"an expression of the kind that has the number {n} of kinds" for n in (1, 2)]
    assert class_names(["fear", "喜び"], [1200, 3]) == ["fear (1,200)", "喜び (3)"]
    assert class_names(long, limit=41) == [
        "an expression of the…he number 1 of kinds",
        "an expression of the…he number 2 of kinds",
    ]
    same = [f"{'a' * 40}{n}{'b' * 40}" for n in (1, 2)]
    assert [name[:4] for name in class_names(same)] == ["1. a", "2. a"]


def test_the_curves_say_that_values_are_not_drawn() -> None:
    history = [
        {"epoch": 1, "train": {"loss": 1.0}},
        {"epoch": 2, "train": {"loss": float("nan")}},
    ]
    title = draw_figure("curves", PlotData("a", "b", histories={"": history})).get_suptitle()
    assert "1 of 2 values are NaN or infinite" in title.replace("\n", " ")


def test_few_videos_are_in_the_title() -> None:
    for name in ("recall", "reliability", "confusion"):
        assert "fewer than 30" in draw_figure(name, data_of(7, 12)).get_suptitle()
        assert "fewer than" not in draw_figure(name, data_of(7, 40)).get_suptitle()


def test_a_legend_does_not_cover_the_title() -> None:
    figure = draw_figure("tsne", data_of(43, 90))
    figure.savefig(io.BytesIO(), format="png")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert figure._suptitle is not None  # type: ignore[attr-defined]
    title = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
    assert legend.get_window_extent().y1 <= title.y0


def test_titles_have_the_intervals_of_the_report() -> None:
    data = data_of(7, 40)
    assert data.report is not None
    assert data.report.uar_ci is not None
    title = draw_figure("recall", data).get_suptitle()
    low, high = (100 * end for end in data.report.uar_ci)
    assert f"UAR {100 * data.report.uar:.2f} % ({low:.2f} to {high:.2f})" in title
    none = replace(data, report=replace(data.report, uar_ci=None, war_ci=None))
    assert "interval" not in draw_figure("confusion", none).get_suptitle()


def test_the_confusion_matrix_of_counts_shows_counts() -> None:
    data = data_of(7, 40)
    assert data.report is not None
    axes = draw_figure("confusion-counts", data).axes[0]
    shown = [int(text.get_text()) for text in axes.texts]
    assert shown == data.report.confusion.counts.ravel().tolist()


def test_a_figure_says_what_it_needs() -> None:
    bare = PlotData("a", "b")
    for name, needed in (
        ("curves", "metrics.jsonl"),
        ("tsne", "--features"),
        ("recall", "--resume"),
    ):
        with pytest.raises(ConfigError, match=needed):
            draw_figure(name, bare)
    with pytest.raises(ConfigError, match="Unknown figure 'roc'; choose from confusion, "):
        check_names(["roc"])
    assert check_names([" Recall", "confusion", "recall"]) == ("confusion", "recall")


def test_a_prediction_file_says_that_its_data_set_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("source,target,label\na,happy,joy\nb,sad,happy\n", encoding="utf-8")
    data = of_predictions(path, resamples=10)
    assert "not recorded" in data.videos
    assert data.report is not None
    assert data.report.war == 0.5
    assert of_predictions(path, title="dfew, PE-CLIP").videos == "dfew, PE-CLIP"
