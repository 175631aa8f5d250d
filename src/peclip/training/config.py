"""Configuration of the training.

The defaults follow the PE-CLIP release where possible; epochs and batch size are the paper's, 30 and 8,
instead of the release's 5 and 4.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from peclip.config import MAX_WORKERS, Config, default_readers
from peclip.data.animation_config import AnimateConfig
from peclip.data.augmentation_config import AugmentConfig
from peclip.literals import Precision, Selection


class LearningRates(Config):
    """Peak learning rates by part of the model."""

    adapters: float = Field(2e-4, ge=0, le=1000)
    """Learning rate of the adapters (ShA, TDA and TA)."""
    prompts: float = Field(3e-5, ge=0, le=1000)
    """Learning rate of the prompts of both towers, and of their coupling."""
    lora: float = Field(2e-4, ge=0, le=1000)
    """Learning rate of LoRA."""
    head: float = Field(2e-4, ge=0, le=1000)
    """Learning rate of the temporal head."""
    backbone: float = Field(0.0, ge=0, le=1000)
    """Learning rate of CLIP itself: 0 keeps it frozen, as in the papers. No weight decay is applied to its vectors
    (norms, biases)."""
    stem: float | None = Field(None, ge=0, le=1000)
    """Learning rate of the backbone's convolutional stem, if it starts from pretrained weights; `None`: the same as
    `backbone`."""

    def peak(self, part: str) -> float:
        """Returns the peak rate of a part, the name of one of these fields."""
        rate = getattr(self, part)
        return self.backbone if rate is None else float(rate)


class StemConfig(Config):
    """The convolutional stem of a backbone that is trained."""

    weights: Path | None = None
    """Initial weights: safetensors of a MobileNetV1 with folded batch norms, such as a face recognition
    network. `None`: the weights of the base."""
    frozen: int = Field(0, ge=0, le=1000)
    """Number of frozen separable layers, counted from the input, including the first convolution: low-level
    features are task-independent, and these layers are the slowest. 0 trains all layers."""


class TeacherConfig(Config):
    """A trained model whose predictions become part of the targets (Hinton et al., 2015)."""

    model: str
    """The teacher, named as for `-m` (a folder, a hub repository, …). It must have the labels and preprocessing of
    the student."""
    share: float = Field(0.5, gt=0, le=1)
    """Weight of the teacher's predictions in the target; the label gets the remaining weight."""
    temperature: float = Field(1.0, gt=0, le=1000)
    """Temperature by which the teacher's logits are divided."""


class MixingConfig(Config):
    """Mixing of batches. The two probabilities sum to at most 1."""

    mixup: float = Field(0.4, ge=0, le=1)
    """Probability of mixup."""
    mixup_alpha: float = Field(0.4, gt=0, le=1e6)
    """The mixing weight of the first video is drawn from Beta(alpha, alpha)."""
    mixup_range: tuple[float, float] = (0.3, 0.7)
    """Range to which this weight is clipped."""
    fmix: float = Field(0.3, ge=0, le=1)
    """Probability of FMix."""
    fmix_alpha: float = Field(1.0, gt=0, le=1e6)
    """The area fraction of the mask is drawn from Beta(alpha, alpha)."""
    fmix_decay: float = Field(3.0, ge=0, le=100)
    """Exponent by which high frequencies in the mask decay."""

    @model_validator(mode="after")
    def _check_sums(self) -> MixingConfig:
        if self.mixup + self.fmix > 1 + 1e-9:
            raise ValueError(
                f"mixup is {self.mixup} and fmix is {self.fmix}; they exclude each other, so "
                "their sum must be at most 1"
            )
        low, high = self.mixup_range
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"mixup_range is ({low}, {high}); it must be two numbers from 0 to 1 in ascending "
                "order"
            )
        return self


class TrainConfig(Config, use_attribute_docstrings=True):
    """Configuration of a training run.

    Any field can be set on the command line, e.g. `--set train.lr.adapters=1e-4`.
    """

    epochs: int = Field(30, ge=1, le=100_000)
    """Number of epochs (passes over the training videos)."""
    batch_size: int = Field(8, ge=1, le=100_000)
    """Total batch size: videos per forward pass, summed over all ranks."""
    grad_accum: int = Field(1, ge=1, le=100_000)
    """Number of forward passes per optimiser step."""
    lr: LearningRates = LearningRates()
    stem: StemConfig = StemConfig()
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` trains the matrices inside the encoders of a trained backbone with Muon and everything else with
    AdamW, at the same rates. Training from scratch then needs far fewer steps."""
    weight_decay: float = Field(0.01, ge=0, le=1000)
    """Weight decay of all trained parameters except the backbone's vectors, scaled by the learning rate."""
    warmup_epochs: float = Field(3.0, ge=0, le=100_000)
    """Duration of the linear warm-up from `warmup_lr` to the peak."""
    warmup_lr: float = Field(2e-5, ge=0, le=1000)
    min_lr: float = Field(0.0, ge=0, le=1000)
    """Final learning rate of the cosine schedule; rates stay between it and their peak."""
    clip_grad: float | None = Field(None, gt=0, le=1e9)
    """Maximum norm of the gradient over all parameters; the release does not clip gradients."""
    precision: Precision = "auto"
    """Precision of the forward and backward passes; auto selects bf16 on CUDA devices that support it, fp16
    on other CUDA devices, and fp32 elsewhere."""
    mixing: MixingConfig = MixingConfig()
    augment: AugmentConfig = AugmentConfig()
    animate: AnimateConfig | None = None
    """Generate windows from stills; replaces `augment`."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Stochastic depth: probability that a video skips the last block of the video encoder; it grows linearly from the
    first block on."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread evenly over all labels."""
    balance: Literal["none", "sampling", "loss"] = "none"
    """`sampling` draws all classes equally often; `loss` gives rare classes larger weights. With soft
    targets, the expected class sizes are used."""
    balance_power: float = Field(1.0, ge=0, le=1)
    """For `sampling`: a class of n videos is drawn in proportion to n ** (1 - balance_power)."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an exponential moving average (EMA) of the weights; the model then uses the averaged
    weights."""
    compile: bool = False
    """Compile the video encoder with `torch.compile`: slower first step, faster later steps."""
    text_styles: tuple[str, ...] = ()
    """Text styles from which each step draws one per label (see `descriptions`); by default, the model's style is
    always used. Custom texts are unchanged."""
    spread: float = Field(0.0, ge=0, le=1000)
    """Weight of an additional loss term: the mean squared cosine similarity between the texts of different labels.
    Without it, a text tower trained from scratch maps all texts to similar features before the images provide any
    signal."""
    teacher: TeacherConfig | None = None
    prior: Literal["none", "targets", "fit"] = "none"
    """Whether to store a label prior, so that predictions can be adjusted to other label frequencies (see
    `peclip.labels.prior_factors`). `targets` stores the mean training target as its `prior`, without a
    weight; `fit` also chooses the weight on the validation videos: the one with the highest UAR among those
    whose WAR is at most `prior_cost` below the best."""
    prior_cost: float = Field(1.0, ge=0, le=100)
    """Maximum loss of WAR, in percentage points, for the weight chosen by `prior=fit`."""
    calibrate: bool = False
    """Fit the temperature of the trained model on the validation videos, before the prior weight is chosen."""
    seed: int = Field(42, ge=0, lt=2**63)
    """Random seed of the run."""
    select_on: Selection = "val"
    """Split used to select the best epoch (val or test), or last to keep the last epoch. Selecting on test,
    as many papers do, makes the scores optimistic; the report then includes a warning."""
    select_by: Literal["war", "uar"] = "war"
    test: bool = True
    """Whether to evaluate on the test videos at the end. If false, scores are reported on the validation
    videos, so that the test videos remain unused during development."""
    val_fraction: float = Field(0.1, gt=0, lt=1)
    """Fraction of the training videos held out if there is no validation split."""
    patience: int | None = Field(None, ge=1, le=100_000)
    """Early stopping: number of epochs without improvement after which training stops."""
    checkpoint_steps: int | None = Field(None, ge=1, le=1_000_000_000)
    """Number of steps between saved states; by default, the state is saved only after each epoch."""
    checkpoint_activations: bool = False
    """Recompute the activations of every block in the backward pass, trading time for memory."""
    workers: int = Field(default_factory=default_readers, ge=0, le=MAX_WORKERS)
    """Number of data-loading processes per rank; by default, one per core, up to 4."""

    @field_validator("warmup_epochs", "warmup_lr", "min_lr", "weight_decay")
    @classmethod
    def _check_finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @model_validator(mode="after")
    def _check_selection(self) -> TrainConfig:
        if self.patience is not None and self.select_on == "last":
            raise ValueError(
                "patience requires select_on=val or select_on=test: select_on=last always keeps the "
                "final epoch"
            )
        if self.select_on == "test" and self.calibrate:
            raise ValueError(
                "select_on is test, so calibrate would fit the temperature on the test videos; "
                "set select_on to val, or set calibrate to false"
            )
        if self.select_on == "test" and self.prior == "fit":
            raise ValueError(
                "select_on is test, so prior=fit would tune the weight on the test videos; set "
                "select_on to val, or set prior to targets"
            )
        if self.select_on == "test" and not self.test:
            raise ValueError(
                "select_on is test, but the test videos are excluded by test=false; set test to "
                "true or select_on to val"
            )
        return self
