"""A model on a data set: what is asked, what is counted, and what a score says of itself."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
import yaml
from frame_folders import noise, write_frames
from torch import Tensor

from peclip import PEClip, PredictOptions
from peclip.config import check
from peclip.data import DataConfig, Split
from peclip.data.streams.parts import PartsStream
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet
from peclip.metrics.scoring import Evaluation, score_files
from peclip.models.frozen import FrozenModel
from peclip.nn.preprocess import as_tensor
from peclip.runs.dataset_evaluation import EvaluateOptions, evaluate_dataset, evaluate_fold
from peclip.runs.leakage import TEST_WARNING, config_of
from peclip.runs.run_files import CONFIG
from peclip.settings import load_settings
from peclip.text.views import Views
from peclip.training.distributed import SINGLE, World, joined
from peclip.training.frame_orders import FRAME_ORDERS, averaged, repeat_peak, reverse, shuffle
from peclip.training.state import BEST
from peclip.types import Batch
from peclip.video.faces import resize_frame
from peclip.video.reader import open_video
from peclip.weights.checkpoint import load_model
from peclip.weights.folder import MODEL, Checkpoint, model_of
from peclip.weights.resolve import debug_config

LABELS = ("happiness", "sadness", "anger")
COUNTS = {"happiness": 3, "sadness": 2, "boredom": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos of noise; the model lacks boredom, and the data lacks anger."""
    root = tmp_path_factory.mktemp("own")
    for label, count in COUNTS.items():
        for number in range(count):
            write_frames(root / "test" / label / str(number), noise(10 * len(label) + number))
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random layers whose temporal adapters do something, so that the order of frames matters."""
    folder = tmp_path_factory.mktemp("model") / "model"
    config = debug_config().derive(labels=LABELS, temperature=0.05)
    network = load_model(Checkpoint("debug", "", config, None), settings=load_settings())
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "temporal_adapter" in name:
                parameter.add_(torch.randn_like(parameter))
    PEClip(network, config, device=torch.device("cpu"), precision="fp32").save_pretrained(folder)
    return folder


def score(root: Path, model: Path | PEClip, world: World = SINGLE, **changes: object) -> Evaluation:
    path = changes.pop("predictions_path", None)
    assert path is None or isinstance(path, Path)
    values = {"workers": 0, "resamples": 50, **changes}
    return evaluate_dataset(
        model,
        DataConfig(dataset="folder", root=root),
        EvaluateOptions.model_validate(values),
        device="cpu",
        precision="fp32",
        world=world,
        predictions_path=path,
    )


def test_an_evaluation_records_its_settings(root: Path, model: Path, tmp_path: Path) -> None:
    evaluation = score(root, model, predictions_path=tmp_path / "predictions.csv")
    facts = evaluation.to_dict()
    assert (facts["dataset"], facts["fold"], facts["split"]) == ("folder", None, "test")
    assert (facts["num_videos"], facts["num_frames"]) == (5, 4)
    assert (facts["missing"], facts["unreadable"]) == (0, 0)
    assert (facts["frames"], facts["tta"], facts["compute_precision"]) == (
        "as-recorded",
        "none",
        "fp32",
    )
    assert facts["model"] == str(model)
    assert facts["preprocessing"]["image_size"] == 32
    assert facts["dropped"] == {"boredom": 2}
    assert facts["remarks"] == list(evaluation.folds[0].remarks)
    assert any("2 videos of boredom" in remark for remark in facts["remarks"])


def test_a_loaded_model_is_used_as_is(root: Path, model: Path, ravdess: Path) -> None:
    """Such as one that has just been trained, which no folder holds yet."""
    loaded = PEClip.from_pretrained(model, device="cpu", precision="fp32")
    named, given = score(root, model).to_dict(), score(root, loaded).to_dict()
    assert given == named
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.requires_grad)
    assert score(root, loaded).to_dict()["ece"] != named["ece"]
    assert [fold.facts["fold"] for fold in score_folds(ravdess, loaded).folds] == [1, 2, 3, 4, 5, 6]


def test_predictions_that_no_target_has_count_as_wrong(root: Path, model: Path) -> None:
    """Nothing is dropped that would make the score better."""
    report = score(root, model).folds[0].report
    wrong = 5 - int(report.confusion.counts.diagonal().sum())
    assert sum(report.unmatched.values()) <= wrong
    assert report.recall["anger"] is None
    assert report.confusion.counts.sum() == 5


def test_saved_predictions_score_the_same(root: Path, model: Path, tmp_path: Path) -> None:
    found = score(root, model, predictions_path=tmp_path / "predictions.csv").merged
    again = score_files([tmp_path / "predictions.csv"], resamples=50).merged
    assert again.to_dict() == found.to_dict()


def test_batches_and_mirrors(root: Path, model: Path, tmp_path: Path) -> None:
    def predictions(name: str, **changes: object) -> list[list[float]]:
        path = tmp_path / f"{name}.csv"
        score(root, model, predictions_path=path, **changes)
        rows = csv.DictReader(path.read_text().splitlines())
        return [[float(row[f"prob_{label}"]) for label in LABELS] for row in rows]

    plain = predictions("plain")
    assert np.allclose(predictions("one", batch_size=1), plain, atol=1e-6)
    assert not np.allclose(predictions("flip", tta="flip"), plain, atol=1e-4)
    shuffled = predictions("shuffled", frames="shuffled")
    assert np.allclose(predictions("one2", frames="shuffled", batch_size=1), shuffled, atol=1e-6)
    assert not np.allclose(shuffled, plain, atol=1e-4)
    assert not np.allclose(predictions("seed", frames="shuffled", seed=5), shuffled, atol=1e-4)


def test_several_views_by_hand(model: Path, tmp_path: Path) -> None:
    """The mean over 2 clips, 2 crops and the mirror images, each read and predicted on its own."""
    for number, label in enumerate(("happiness", "sadness", "anger")):
        write_frames(tmp_path / "test" / label / "0", noise(number, 9 - 3 * number))
    path = tmp_path / "all.csv"
    views = {"tta": "flip, crops=2,clips=2", "batch_size": 2}
    found = score(tmp_path, model, predictions_path=path, **views)
    assert found.folds[0].facts["tta"] == "clips=2,crops=2,flip"
    loaded = PEClip.from_pretrained(model, device="cpu", precision="fp32")
    frozen = FrozenModel(loaded.model, torch.device("cpu"), "fp32")
    # Segments of 9 / 4, 6 / 4 and 3 / 4 frames, at a quarter and at three quarters; 3 frames are padded.
    clips = {
        "happiness": ([0, 2, 5, 7], [1, 3, 6, 8]),
        "sadness": ([0, 1, 3, 4], [1, 2, 4, 5]),
        "anger": ([0, 1, 2, 2], [0, 1, 2, 2]),
    }
    for row in csv.DictReader(path.read_text().splitlines()):
        with open_video(tmp_path / "test" / row["target"] / "0") as reader:
            whole = reader.read(range(len(reader))).data
        crops = as_tensor(np.stack([resize_frame(frame, 32) for frame in whole]))
        shown = []
        for numbers in clips[row["target"]]:
            clip = loaded.preprocess(crops[numbers])
            middle = F.interpolate(clip[..., 2:30, 2:30], size=32, mode="bilinear")
            for frames in (clip, clip.flip(-1), middle, middle.flip(-1)):
                shown.append(frozen(Batch(frames[None])).softmax(-1)[0])
        mean = torch.stack(shown).mean(0).tolist()
        assert [float(row[f"prob_{n}"]) for n in LABELS] == pytest.approx(mean, abs=1e-5)


def test_what_is_no_view_is_refused() -> None:
    for wrong in ("clips=11", "crops=0", "crops=7", "flop", "flip=2", "flip,flip", "", "none,flip"):
        with pytest.raises(ConfigError, match="tta: "):
            check(EvaluateOptions, {"tta": wrong})
        with pytest.raises(ConfigError, match="tta: "):
            check(PredictOptions, {"tta": wrong})


def test_frame_order_ablations_are_reported_with_the_original_order(
    root: Path, model: Path
) -> None:
    plain = score(root, model).folds[0]
    facts = score(root, model, frames="reversed").folds[0].to_dict()
    assert facts["as_recorded"]["war"] == pytest.approx(100 * plain.report.war)
    assert facts["lost"]["war"] == pytest.approx(facts["as_recorded"]["war"] - facts["war"])
    assert "lost" not in plain.facts


def test_other_labels_through_the_text_tower(root: Path, model: Path) -> None:
    labels = {"boredom": "a bored face.", "sadness": "", "happiness": ""}
    found = score(root, model, labels=labels)
    assert found.merged.labels == ("boredom", "sadness", "happiness")
    assert found.merged.num_videos == 7
    assert not found.folds[0].report.dropped
    with pytest.raises(ConfigError, match=r"happiness, sadness, boredom.*--labels"):
        score(root, model, labels={"pain": "", "relief": ""})


def test_unreadable_videos(root: Path, model: Path, tmp_path: Path) -> None:
    """What could be read is kept, whatever the exit code."""
    for label in ("happiness", "sadness"):
        for number in range(2):
            write_frames(tmp_path / "test" / label / str(number), noise(number))
    (tmp_path / "test/sadness/1/2.png").write_bytes(b"no picture")
    path = tmp_path / "predictions.csv"
    with pytest.raises(
        DatasetError, match=r"1 videos cannot be read; the other predictions are in"
    ):
        score(tmp_path, model, predictions_path=path)
    assert len(path.read_text().splitlines()) == 4
    found = score(tmp_path, model, skip_unreadable=True).to_dict()
    assert (found["num_videos"], found["unreadable"]) == (3, 1)
    for folder in (tmp_path / "test").glob("*/*"):
        (folder / "2.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="4 videos cannot be read"):
        score(tmp_path, model, skip_unreadable=True)


def ask_in_ranks(rank: int, root: str, model: str, port: int, out: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PECLIP_OFFLINE": "1"}
    torch.set_num_threads(1)
    world = World(rank, 2, rank)
    with joined(world, torch.device("cpu")):
        found = score(Path(root), Path(model), world, frames="shuffled", batch_size=3)
    if world.is_main:
        Path(out).write_text(json.dumps(found.to_dict()))


@pytest.mark.slow  # two processes import torch; the training of two ranks is tested by default
def test_two_ranks_equal_one(root: Path, model: Path, tmp_path: Path) -> None:
    """An odd number of videos, nothing padded; a probability may differ by the rounding of its batch."""
    out = tmp_path / "two.txt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (str(root), str(model), port, str(out))
    mp.spawn(ask_in_ranks, arguments, nprocs=2, join=True)  # type: ignore[no-untyped-call]
    one = json.loads(json.dumps(score(root, model, frames="shuffled", batch_size=3).to_dict()))
    two = json.loads(out.read_text())
    assert two.pop("ece") == pytest.approx(one.pop("ece"), abs=1e-5)
    assert two == one


def test_models_of_runs(tmp_path: Path) -> None:
    assert model_of("nano", 3) == "nano"
    assert model_of(tmp_path, None) == tmp_path
    (tmp_path / "one" / MODEL).mkdir(parents=True)
    assert model_of(tmp_path / "one", 2) == tmp_path / "one" / MODEL
    (tmp_path / "all/fold-2" / MODEL).mkdir(parents=True)
    assert model_of(tmp_path / "all", 2) == tmp_path / "all/fold-2" / MODEL
    with pytest.raises(ConfigError, match="none for fold 1"):
        model_of(tmp_path / "all", 1)


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One actor of each of the six folds, happy and sad."""
    root = tmp_path_factory.mktemp("ravdess")
    for actor in range(1, 25, 4):
        for emotion in ("03", "04"):
            write_frames(root / f"02-01-{emotion}-01-01-01-{actor:02d}", noise(actor, 2))
    return root


def score_folds(
    root: Path,
    model: Path | PEClip,
    fold: int | None = None,
    path: Path | None = None,
    **changes: object,
) -> Evaluation:
    """Scores one fold, or all of them."""
    return evaluate_dataset(
        model,
        DataConfig(dataset="ravdess", root=root, fold=fold),
        EvaluateOptions.model_validate({"workers": 0, "resamples": 0, **changes}),
        all_folds=fold is None,
        device="cpu",
        predictions_path=path,
    )


def test_all_of_a_data_set_with_folds(ravdess: Path, model: Path, tmp_path: Path) -> None:
    """A number of a fold changes nothing; every fold would be the same videos again."""
    found = score_folds(ravdess, model, 2, tmp_path / "predictions.csv", split="all")
    assert found.merged.num_videos == 12
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 13
    with pytest.raises(ConfigError, match="same videos in every fold.*Use a single --fold"):
        score_folds(tmp_path / "nowhere", model, split="all")


def test_a_fold_without_a_model_is_reported_first(
    ravdess: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fold in range(1, 6):
        shutil.copytree(model, tmp_path / f"fold-{fold}" / MODEL)
    asked: list[object] = []
    monkeypatch.setattr(
        "peclip.runs.dataset_evaluation.evaluate_fold", lambda *given: asked.append(given)
    )
    with pytest.raises(ConfigError, match="none for fold 6"):
        score_folds(ravdess, tmp_path)
    assert not asked


def test_a_run_on_another_fold_has_seen_the_videos(
    ravdess: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    shutil.copytree(model, out / MODEL)
    for dataset, own, fold, warned in (
        ("ravdess", 2, 2, False),
        ("cremad", 2, 1, False),
        ("ravdess", None, 1, False),
        ("ravdess", 2, 1, True),
        ("ravdess", 2, None, True),
    ):
        (out / CONFIG).write_text(yaml.safe_dump({"data": {"dataset": dataset, "fold": own}}))
        caplog.clear()
        found = score_folds(ravdess, out, fold)
        text = found.to_dict().get("warning", "")
        assert ("was trained on fold 2 of ravdess" in text) == warned
        assert [record.getMessage() for record in caplog.records] == [text] * warned
        again = score_folds(ravdess, out / MODEL, fold).to_dict().get("warning", "")
        assert ("was trained on fold 2 of ravdess" in again) == warned, "its model, by its own path"
        found.save(tmp_path / "report.csv")
        assert ("too high" in (tmp_path / "report.csv").read_text()) == warned


def test_a_run_with_a_subject_split_has_seen_the_other_subjects(
    ravdess: Path, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "run" / MODEL)
    begun = {"data": {"dataset": "ravdess", "fold": None, "test_subjects": ["01", "05"]}}
    (tmp_path / "run" / CONFIG).write_text(yaml.safe_dump(begun))
    warning = score_folds(ravdess, tmp_path / "run", 1).to_dict()["warning"]
    assert "ravdess" in warning
    assert "except 01, 05" in warning
    own = evaluate_dataset(
        tmp_path / "run",
        DataConfig(dataset="ravdess", root=ravdess, test_subjects=("5", "01")),
        EvaluateOptions(workers=0, resamples=0),
        device="cpu",
    )
    assert "warning" not in own.to_dict()


def test_a_run_that_selected_its_epoch_on_the_test_videos(
    ravdess: Path, root: Path, model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(model, run / MODEL)

    def begun(dataset: str, folder: Path, fold: int | None, select_on: str = "test") -> None:
        data = {"dataset": dataset, "root": str(folder), "fold": fold}
        (run / CONFIG).write_text(yaml.safe_dump({"data": data, "train": {"select_on": select_on}}))

    begun("ravdess", tmp_path / "moved", 1)
    assert score_folds(ravdess, run, 1).to_dict()["warning"] == TEST_WARNING
    both = score_folds(ravdess, run).to_dict()["warning"]
    assert both.startswith(TEST_WARNING)
    assert both.count("was trained on fold 1") == 1
    begun("ravdess", ravdess, 1, "val")
    assert "warning" not in score_folds(ravdess, run, 1).to_dict()
    begun("folder", root, None)
    assert score(root, run).to_dict()["warning"] == TEST_WARNING
    begun("folder", tmp_path / "others", None)
    assert "warning" not in score(root, run).to_dict(), "videos of another data set"
    begun("folder", root, None)
    text = (run / CONFIG).read_text().replace("fold: null", "annotations: other.csv")
    (run / CONFIG).write_text(text)
    assert "warning" not in score(root, run).to_dict(), "videos of another list"


def test_a_run_evaluated_on_its_training_videos(ravdess: Path, model: Path, tmp_path: Path) -> None:
    """No fold tells that: it is the split itself that holds them."""
    run = tmp_path / "run"
    for name in ("train", "test"):
        for number, label in enumerate(LABELS):
            write_frames(tmp_path / "own" / name / label / "0", noise(number, 2))
    shutil.copytree(model, run / MODEL)

    def begun(dataset: str, folder: Path, **more: object) -> None:
        data = {"dataset": dataset, "root": str(folder), **more}
        values = {"data": data, "train": {"select_on": "test"}}
        (run / CONFIG).write_text(yaml.safe_dump(values))

    def warning_for(**changes: object) -> str:
        return str(score(tmp_path / "own", run, **changes).to_dict().get("warning", ""))

    begun("folder", tmp_path / "own")
    for split in ("train", "all"):
        assert f"trained on videos in the split {split} of folder" in warning_for(split=split)
        assert "--split test, or" in warning_for(split=split)
    assert warning_for(split="test") == TEST_WARNING
    begun("folder", tmp_path / "others")
    assert not warning_for(split="all")
    for more in ({"fold": 2}, {"test_subjects": ["01"]}):
        begun("ravdess", tmp_path / "moved", **more)
        found = score_folds(ravdess, run, 2, split="all").to_dict()
        assert "in the split all of ravdess" in found["warning"]
    begun("ravdess", tmp_path / "moved", fold=2)
    found = score_folds(ravdess, run, 2, split="train").to_dict()
    assert "--split test --fold 2, or" in found["warning"]


def test_the_best_checkpoint_belongs_to_its_run(
    root: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(model, run / BEST)
    data = {"dataset": "folder", "root": str(root)}
    (run / CONFIG).write_text(yaml.safe_dump({"data": data, "train": {"select_on": "test"}}))
    assert score(root, run / BEST).to_dict()["warning"] == TEST_WARNING
    for here, name in ((run, str(BEST)), (run, MODEL), (run / "checkpoints", "best")):
        monkeypatch.chdir(here)
        assert config_of(name) == run / CONFIG
    assert config_of(run / "checkpoints/last") is None
    assert config_of("nano") is None
    (run / CONFIG).unlink()
    assert config_of(run / BEST) is None


@pytest.mark.parametrize("end", [KeyboardInterrupt, ConfigError("The memory is too small.")])
def test_a_failure_in_a_later_fold_keeps_earlier_predictions(
    ravdess: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException] | BaseException,
) -> None:
    def until_fold_3(recognizer: Any, split: Split, *given: Any) -> object:
        if split.fold == 3:
            raise end
        return evaluate_fold(recognizer, split, *given)

    monkeypatch.setattr("peclip.runs.dataset_evaluation.evaluate_fold", until_fold_3)
    with pytest.raises(end if isinstance(end, type) else type(end)):
        score_folds(ravdess, model, path=tmp_path / "predictions.csv")
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["predictions-fold-1.csv", "predictions-fold-2.csv"]
    assert len((tmp_path / written[1]).read_text().splitlines()) == 3


# The views, by hand: a model that predicts what it sees.


def first_frame(videos: Batch) -> Tensor:
    """Predicts the value of the first frame: the brighter, the more confident."""
    value = videos.frames[:, 0, 0, 0, 0]
    return torch.stack([value, 1 - value], -1)


def numbered(*values: float) -> Batch:
    return Batch(torch.tensor(values).view(1, -1, 1, 1, 1).expand(1, len(values), 3, 2, 2))


def test_frame_orders_by_hand() -> None:
    frames = numbered(0.6, 0.2, 0.9, 0.7)
    recorded = FRAME_ORDERS["as-recorded"](first_frame, frames, ["a"], 0)
    assert recorded[0, 0].item() == pytest.approx(0.6)
    assert reverse(first_frame, frames, ["a"], 0)[0, 0].item() == pytest.approx(0.7)
    # On its own the third frame gives 0.9, the second 0.8 for the other class: 0.9 is surest.
    assert repeat_peak(first_frame, frames, ["a"], 0)[0, 0].item() == pytest.approx(0.9)
    both = averaged(lambda predict, x, ids, seed: x.frames[:, 0, 0, 0, :], Views(flip=True))
    left_right = Batch(torch.tensor([[1.0, 0.0]]).view(1, 1, 1, 1, 2).expand(1, 1, 3, 2, 2))
    assert both(first_frame, left_right, ["a"], 0).tolist() == [[0.5, 0.5]]


def test_shuffling_never_keeps_the_order_and_depends_on_the_video() -> None:
    seen: list[list[float]] = []

    def watch(videos: Batch) -> Tensor:
        parts = videos.streams["parts"]
        assert isinstance(parts, PartsStream)
        assert torch.equal(parts.pictures[:, :, 0], videos.frames), "parts stay with their frame"
        seen.extend(videos.frames[:, :, 0, 0, 0].tolist())
        return videos.frames[:, 0, 0, 0, :1]

    def with_parts(frames: Tensor) -> Batch:
        pictures = frames[:, :, None].expand(-1, -1, 2, -1, -1, -1)
        found = torch.ones(frames.shape[:2], dtype=torch.bool)
        return Batch(frames, streams={"parts": PartsStream(pictures, found)})

    frames = numbered(0.0, 1.0, 2.0).frames
    ids = [str(number) for number in range(40)]
    shuffle(watch, with_parts(frames.expand(40, -1, -1, -1, -1)), ids, 0)
    assert [0.0, 1.0, 2.0] not in seen
    assert all(sorted(row) == [0.0, 1.0, 2.0] for row in seen)
    assert len({tuple(row) for row in seen}) == 5, "every order but the recorded one"
    together = list(seen)
    seen.clear()
    for name in ids:
        shuffle(watch, with_parts(frames), [name], 0)
    assert seen == together
    shuffle(watch, with_parts(numbered(3.0).frames), ["a"], 0)  # a single frame has one order


def test_label_sets_are_compared_by_name(root: Path, model: Path, tmp_path: Path) -> None:
    """The order of the model's labels changes nothing."""
    loaded = PEClip.from_pretrained(model, device="cpu")
    other = LabelSet(("anger", "sadness", "happiness"))
    loaded.with_labels(other.names).save_pretrained(tmp_path / "other")
    first, second = score(root, model).merged, score(root, tmp_path / "other").merged
    assert (first.uar, first.war) == (second.uar, second.war)
