"""How a model is trained.

The defaults are those of the PE-CLIP release, where it has them; epochs and batch size are the paper's, 30 and 8,
where the release has 5 and 4.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from peclip.config import READERS, Config
from peclip.data.animation import AnimateConfig
from peclip.data.augmentation import AugmentConfig
from peclip.literals import Precision, Selection


class LearningRates(Config):
    """Peak learning rates by part of the model."""

    adapters: float = Field(2e-4, ge=0)
    """ShA, TDA and TA."""
    prompts: float = Field(3e-5, ge=0)
    """Prompts of both towers, and their coupling."""
    backbone: float = Field(0.0, ge=0)
    """Of CLIP itself: 0 leaves it frozen, as in the papers. Vectors (norms, biases) then do not decay."""
    stem: float | None = Field(None, ge=0)
    """Of the convolutional stem of the backbone, where it starts from weights; `None`: as `backbone`."""

    def peak(self, part: str) -> float:
        """Returns the peak rate of `adapters`, `prompts`, `backbone` or `stem`."""
        rate = getattr(self, part)
        return self.backbone if rate is None else float(rate)


class StemConfig(Config):
    """The convolutional stem of a backbone that is trained."""

    weights: Path | None = None
    """What it starts from: safetensors of a MobileNetV1 with folded batch norms, such as one that was trained to
    recognise faces. `None`: the weights of the base."""
    frozen: int = Field(0, ge=0)
    """Separable layers, from the first on, that keep their weights, the first convolution included: edges and blobs
    are the same for every task, and these layers cost the most time. 0 trains everything."""


class TeacherConfig(Config):
    """A trained model whose predictions become a part of the targets (Hinton et al., 2015)."""

    model: str
    """As `-m` names it: a folder, a hub repository, … with the labels and preprocessing of the student."""
    share: float = Field(0.5, gt=0, le=1)
    """Of the target; the rest is the label."""
    temperature: float = Field(1.0, gt=0)
    """The logits of the teacher are divided by this."""


class MixingConfig(Config):
    """Which batches are mixed, and how strongly. The probabilities of both add up to at most 1."""

    mixup: float = Field(0.4, ge=0, le=1)
    """Probability of mixup."""
    mixup_alpha: float = Field(0.4, gt=0)
    """The share of the first video is drawn from Beta(alpha, alpha)."""
    mixup_range: tuple[float, float] = (0.3, 0.7)
    """And clipped to this range."""
    fmix: float = Field(0.3, ge=0, le=1)
    """Probability of FMix."""
    fmix_alpha: float = Field(1.0, gt=0)
    """The masked share is drawn from Beta(alpha, alpha)."""
    fmix_decay: float = Field(3.0, ge=0)
    """Power by which high frequencies of the mask are weakened."""

    @model_validator(mode="after")
    def _check_sums(self) -> MixingConfig:
        if self.mixup + self.fmix > 1 + 1e-9:
            raise ValueError(
                f"mixup {self.mixup} and fmix {self.fmix} are probabilities of one draw, and add up to "
                "more than 1"
            )
        low, high = self.mixup_range
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"mixup_range is ({low}, {high}); give two numbers from 0 to 1 in order"
            )
        return self


class TrainConfig(Config):
    """A training. Any field can be set on the command line, e.g. `--set train.lr.adapters=1e-4`."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(8, ge=1)
    """Videos per forward pass, over all ranks together."""
    grad_accum: int = Field(1, ge=1)
    """Forward passes per step of the optimiser."""
    lr: LearningRates = LearningRates()
    stem: StemConfig = StemConfig()
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` trains the matrices inside the encoders of a trained backbone with Muon, and all else with AdamW, at
    the same rates: from scratch that takes a fraction of the steps."""
    weight_decay: float = Field(0.01, ge=0)
    """Of every trained parameter but the vectors of the backbone, in proportion to its learning rate."""
    warmup_epochs: float = Field(3.0, ge=0)
    """Linear from `warmup_lr` to the peak."""
    warmup_lr: float = Field(2e-5, ge=0)
    min_lr: float = Field(0.0, ge=0)
    """Where the cosine ends; no part goes below it, and none above its peak."""
    clip_grad: float | None = Field(None, gt=0)
    """Longest allowed gradient of all parameters together; the release clips nothing."""
    precision: Precision = "auto"
    mixing: MixingConfig = MixingConfig()
    augment: AugmentConfig = AugmentConfig()
    animate: AnimateConfig | None = None
    """Makes windows out of stills, instead of `augment`."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: Literal["none", "sampling", "loss"] = "none"
    """`sampling`: every class comes equally often. `loss`: rare classes weigh more. Soft targets count as the number
    of videos that is expected of each class."""
    balance_power: float = Field(1.0, ge=0, le=1)
    """Of `sampling`: a class of n videos comes in proportion to n to the power 1 minus this."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, which is then the model."""
    compile: bool = False
    """Compile the encoder of the videos (`torch.compile`): a slow first step, then faster ones."""
    text_styles: tuple[str, ...] = ()
    """Each step describes every label in one of these styles, drawn anew (see `descriptions`); by default
    always in the model's own. A text of the user's own stays."""
    spread: float = Field(0.0, ge=0)
    """Weight of the mean squared cosine between the texts of different labels, added to the loss. Without
    it, a text tower that is trained from scratch makes all texts alike before the images tell anything."""
    teacher: TeacherConfig | None = None
    prior: Literal["none", "targets", "fit"] = "none"
    """Logit adjustment of the finished model (Menon et al., 2021). `targets` stores the mean training target
    as its `prior`, with weight 0; `fit` also chooses the weight on the validation videos, by (WAR + UAR) / 2."""
    calibrate: bool = False
    """Fit the temperature of the finished model on the validation videos, after the weight of its prior."""
    seed: int = Field(42, ge=0, lt=2**63)
    select_on: Selection = "val"
    """Which videos choose the epoch that is kept; `last` keeps the last one. `test` is what the papers
    of the field do; it overstates the result, and reports say so."""
    select_by: Literal["war", "uar"] = "war"
    test: bool = True
    """Whether the test videos are asked at the end; false keeps them unseen while a model is developed,
    and the report is of the validation videos."""
    val_fraction: float = Field(0.1, gt=0, lt=1)
    """Part of train that validates where there is no validation split."""
    patience: int | None = Field(None, ge=1)
    """Epochs without a better one after which training ends."""
    checkpoint_steps: int | None = Field(None, ge=1)
    """Steps after which the state is saved within an epoch; by default only between epochs."""
    checkpoint_activations: bool = False
    """Recompute the activations of every block in the backward pass: less memory, more time."""
    workers: int = Field(READERS, ge=0)
    """Processes that read videos, for every rank."""

    @field_validator("warmup_epochs", "warmup_lr", "min_lr", "weight_decay")
    @classmethod
    def _check_finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("it takes a finite number")
        return value

    @model_validator(mode="after")
    def _check_selection(self) -> TrainConfig:
        if self.patience is not None and self.select_on == "last":
            raise ValueError("patience needs select_on val or test: `last` keeps the last epoch")
        if self.select_on == "test" and self.calibrate:
            raise ValueError(
                "select_on is test, and calibrate would fit the temperature on the test videos: select on val, "
                "or set calibrate to false"
            )
        if self.select_on == "test" and self.prior == "fit":
            raise ValueError(
                "select_on is test, and prior fit would choose the weight on the test videos: select on val, "
                "or set prior to targets"
            )
        if self.select_on == "test" and not self.test:
            raise ValueError(
                "select_on is test, and test is false, which leaves the test videos out"
            )
        return self
