"""Every setting of a run: one strict section a stage, composed from YAML files and overrides.

Knows nothing of the stages themselves. The invariants: an unknown key is an error that names the
key and its nearest neighbour, every value is checked on loading, and what can be computed from
other settings (the receptive field, a window's length) is computed and never configured.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wavenet.errors import ConfigError

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "configs"


NO_CONTENT: dict[str, Any] = {"content": False}
"""Marks a setting that decides where or how often, and not what comes out: no part of a cache key."""
NO_CHANGES: Mapping[str, Any] = MappingProxyType({})


class Section(BaseModel):
    """Base of all sections: frozen; an unknown key, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Layout = Literal[
    "auto", "album", "stems", "musdb", "slakh", "groove", "gtzan", "spoken_digit", "nsynth", "manifest"
]


class IngestConfig(Section):
    """Which files become which tracks, and in what form they are worked on."""

    layout: Layout = Field(
        "auto",
        description="album: each file a finished track; stems: each folder a song of stems; else a data set",
    )
    sample_rate: int = Field(16000, ge=1000, le=192000, description="of the models and the mix, Hz")
    downmix: Literal["mean", "left", "right"] = Field("mean", description="how channels become one")
    resample_quality: Literal["QQ", "LQ", "MQ", "HQ", "VHQ"] = Field("HQ", description="of soxr")
    track_stem: str = Field(
        "mix", pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="stem name of a finished track"
    )
    stems: list[str] | None = Field(None, description="use only these stems; all when not given")
    licence: str = Field("not stated", description="of the audio, for the dataset card")
    workers: int | None = Field(
        None, ge=1, description="decoding processes; one a core if not given", json_schema_extra=NO_CONTENT
    )


class SeparationConfig(Section):
    """Demucs, in Demucs' own words. Only finished tracks are separated."""

    enabled: bool = Field(False, description="take finished tracks apart into stems")
    model: str = Field("htdemucs", description="htdemucs, htdemucs_ft or htdemucs_6s, or one in repo")
    repo: Path | None = Field(
        None, description="folder of local models; they are trusted code", json_schema_extra=NO_CONTENT
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 ...", json_schema_extra=NO_CONTENT)
    shifts: int = Field(1, ge=0, description="times that a track is shifted and separated, then averaged")
    overlap: float = Field(0.25, ge=0, lt=1, description="share of a chunk that the next begins with")
    segment: float | None = Field(None, gt=0, description="seconds a chunk; the model's if not given")
    jobs: int = Field(0, ge=0, description="chunks at once on a CPU; 0: one", json_schema_extra=NO_CONTENT)
    min_energy_share: float = Field(
        1e-3,
        ge=0,
        lt=1,
        description="a stem with less of its track's energy is not trained on",
        json_schema_extra=NO_CONTENT,  # of the separation: the plan of what is used reads it
    )


class SilenceConfig(Section):
    """What counts as silence: measured against the file's own level, never against full scale."""

    cut: bool = Field(True, description="leave silent segments out of the shards")
    below_db: float = Field(60.0, gt=0, le=200, description="so far under the file's own level")
    hysteresis_db: float = Field(6.0, ge=0, le=60, description="sound begins so much above that")
    min_seconds: float = Field(2.0, ge=0, le=600, description="shorter rests are music and stay")


class SegmentationConfig(Section):
    """How tracks are cut into rows, and which are held out."""

    segment_seconds: float | None = Field(
        None, gt=0, le=60, description="twice the longest receptive field if not given"
    )
    heldout_share: float = Field(0.1, gt=0, lt=1, description="share of tracks never trained on")
    normalize: Literal["none", "loudness", "peak"] = Field(
        "none", description="one gain a track, for all its stems; quiet music becomes loud"
    )
    target_lufs: float = Field(-18.0, ge=-60, le=0, description="of a track, where loudness is normalized")
    target_peak_db: float = Field(-1.0, ge=-60, le=0, description="of a track, where its peak is")
    silence: SilenceConfig = SilenceConfig()


class QuantizationConfig(Section):
    """From waveform to codes."""

    quantization_channels: int = Field(256, ge=16, le=65536, description="levels of a sample")
    law: Literal["mu-law", "linear"] = Field(
        "mu-law", description="where levels lie: close to each other around silence, or evenly"
    )
    dither: bool = Field(False, description="triangular noise of one step before rounding")


FeatureName = Literal["energy", "onset", "f0", "chroma", "notes", "context"]


class FeaturesConfig(Section):
    """What is stored beside the codes, for models that are told more than their own past."""

    names: list[FeatureName] = Field([], description="features to measure; model.features uses them")
    frame_rate: float = Field(
        100.0, ge=1, le=1000, description="frames a second, about: a frame is whole samples"
    )


class StorageConfig(Section):
    """Where what is made is kept, if not in the workspace."""

    shards: str | None = Field(
        None,
        description="prefix such as s3://bucket/shards to write to and train from",
        json_schema_extra=NO_CONTENT,
    )


Label = Annotated[str, Field(min_length=1, max_length=64)]


class ModelConfig(Section):
    """The network (van den Oord et al. 2016, 2.1 to 2.5)."""

    kernel_size: int = Field(2, ge=2, le=3, description="taps of each dilated convolution")
    dilation_cycle: Annotated[int, Field(ge=1, le=16)] | list[Annotated[int, Field(ge=1, le=65536)]] = Field(
        10, description="layers a cycle, dilated 1, 2, 4 ... 2^(n-1); or the dilations themselves"
    )
    num_cycles: int = Field(2, ge=1, le=16, description="cycles of dilations, one after another")
    residual_channels: int = Field(32, ge=1, description="width of what goes from layer to layer")
    gate_channels: int = Field(32, ge=1, description="width of tanh and of sigmoid, each")
    skip_channels: int = Field(128, ge=1, description="that each layer gives to the output")
    skip: Literal["sum", "concat"] = Field("sum", description="how the layers' skips come together")
    head_channels: int | None = Field(
        None, ge=1, description="hidden width of the output; skip_channels if not given"
    )
    bias: bool = Field(True, description="of all convolutions")
    weight_norm: bool = Field(False, description="direction and length of each filter learned apart")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of gated channels silenced in a window")
    input: Literal["embedding", "one-hot", "scalar"] = Field(
        "embedding", description="how a level comes in: a learned vector, one of many, or its amplitude"
    )
    output: Literal["softmax", "logistics"] = Field(
        "softmax", description="softmax up to 1024 levels; a mixture of logistics for any number"
    )
    num_mixtures: int = Field(10, ge=1, le=64, description="logistics in the mixture")
    labels: list[Label] = Field([], description="global conditioning: labels of the tracks, by name")
    features: list[FeatureName] = Field([], description="local conditioning: features in the shards, by name")
    label_channels: int = Field(16, ge=1, description="width of a label's embedding")
    condition_channels: int = Field(64, ge=1, description="width of what the features become")

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        for name in ("labels", "features"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one thing twice: {', '.join(values)}")
        if self.dilation_cycle == []:
            raise ValueError("dilation_cycle is an empty list; a cycle has at least one layer")
        return self

    @property
    def dilations(self) -> list[int]:
        """Dilation of every layer, input to output."""
        cycle = self.dilation_cycle
        return (cycle if isinstance(cycle, list) else [2**i for i in range(cycle)]) * self.num_cycles

    @property
    def receptive_field(self) -> int:
        """Samples that one output depends on, the newest included."""
        return 1 + (self.kernel_size - 1) * sum(self.dilations)

    @property
    def skip_width(self) -> int:
        """Channels that all skips together have: one layer's where they are summed."""
        return self.skip_channels * (len(self.dilations) if self.skip == "concat" else 1)

    @property
    def head_width(self) -> int:
        """Channels of the output's hidden layer."""
        return self.head_channels or self.skip_channels


class TrainingConfig(Section):
    """One stem's training."""

    steps: int = Field(2000, ge=1, description="updates of the weights")
    init_from: str | None = Field(
        None,
        min_length=1,
        description="weights to begin with: folder, file, models:/NAME/VERSION or runs:/RUN_ID/model",
        json_schema_extra=NO_CONTENT,  # what is found there is
    )
    processes: int = Field(
        1,
        ge=1,
        description="that share each batch on this machine; on GPUs one a card",
        json_schema_extra=NO_CONTENT,
    )
    nodes: int = Field(
        1,
        ge=1,
        description="machines that share each batch, so many processes on each",
        json_schema_extra=NO_CONTENT,
    )
    meeting: str | None = Field(
        None,
        pattern=r"^[^:/\s]+:\d{1,5}$",
        description="HOST:PORT of the machine that trains, where the other nodes find it",
        json_schema_extra=NO_CONTENT,
    )
    batch_size: int = Field(4, ge=1, description="windows a step, over all devices")
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="windows at a time on a device; all its share if not given, fewer where memory ends",
        json_schema_extra=NO_CONTENT,
    )
    scored_length: int = Field(4096, ge=1, description="samples scored in a window, after context")
    learning_rate: float = Field(2e-3, gt=0, description="of AdamW, after the warm-up")
    schedule: Literal["cosine", "plateau", "constant"] = Field("cosine", description="after the warm-up")
    warmup_steps: int = Field(50, ge=0, description="steps in which the rate rises from nothing")
    final_rate_share: float = Field(0.1, ge=0, le=1, description="of learning_rate, the least it becomes")
    plateau_looks: int = Field(
        5, ge=1, description="looks at held-out audio without gain, then the rate halves"
    )
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    clip_norm: float = Field(1.0, gt=0, description="norm that all gradients together have at most")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the average of weights that is kept; 0: none")
    stop_after: int | None = Field(
        None, ge=1, description="looks at held-out audio without gain that end it; the best weights are kept"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the device computes in it, fp32 elsewhere"
    )
    compile: bool = Field(False, description="torch.compile: a minute of waiting, then faster on a GPU")
    condition_dropout: float = Field(
        0.1, ge=0, le=1, description="share of windows that are told nothing, for guidance and playing freely"
    )
    init_rate_share: float = Field(1.0, ge=0, le=1, description="of the rate, for weights that were loaded")
    freeze: list[str] = Field(
        [], description="weights that stay, by name: input, layers.0, layers.*.skip ..."
    )
    seed: int = Field(0, ge=0, description="of first weights, windows and dropout")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 ...", json_schema_extra=NO_CONTENT)
    log_every: int = Field(10, ge=1, description="steps between lines of metrics")
    heldout_every: int = Field(100, ge=1, description="steps between looks at held-out audio")
    heldout_windows: int = Field(8, ge=1, description="windows in such a look; the end scores all")
    sample_every: int | None = Field(None, ge=1, description="steps between takes to listen to")
    sample_seconds: float = Field(4.0, gt=0, le=60, description="length of such a take")
    checkpoint_seconds: float = Field(
        30.0, ge=0, description="0: a checkpoint every step", json_schema_extra=NO_CONTENT
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        processes = self.processes * self.nodes
        if self.batch_size < processes:
            raise ValueError(
                f"batch_size is {self.batch_size}, too few for {processes} processes; each takes a "
                "window at least: raise batch_size or lower processes"
            )
        if self.nodes > 1 and self.meeting is None:
            raise ValueError(
                f"nodes is {self.nodes}, and meeting names no HOST:PORT; the others would not find it"
            )
        return self


class GuardsConfig(Section):
    """What a take is watched for; in trouble, it is played again from the last good second."""

    enabled: bool = Field(True, description="watch takes; if not, they go on whatever happens")
    restarts: int = Field(20, ge=0, le=1000, description="without getting on a second; then it is let go on")
    fit: bool = Field(True, description="go by the music that was trained on, where it is at hand")
    silence_db: float = Field(-60.0, ge=-200, le=0, description="of full scale, below which all is silence")
    silence_seconds: float = Field(4.0, gt=0, description="of silence are trouble; above 8 not watched")
    noise_db: float = Field(-30.0, ge=-200, le=0, description="of full scale, above which noise is trouble")
    flatness: float = Field(0.6, ge=0, le=1, description="of a spectrum above which it is noise; 1: white")
    clipped_share: float = Field(
        0.05, ge=0, le=1, description="of a second's samples at the outermost levels"
    )
    repeated_seconds: float = Field(
        3.0, gt=0, description="of one short loop are trouble; above 8 not watched"
    )


class GenerationConfig(Section):
    """One stem's takes."""

    seconds: float = Field(10.0, gt=0, le=3600, description="length of a take")
    temperature: float = Field(1.0, gt=0, le=10, description="below 1 likely levels become likelier")
    top_k: int = Field(0, ge=0, description="likeliest levels that may be chosen; all if 0")
    top_p: float = Field(1.0, gt=0, le=1, description="share of probability that may be chosen from")
    guidance: float = Field(
        1.0, ge=0, le=10, description="1: as told; 0: told nothing; more: told louder, at half the speed"
    )
    seed: int = Field(0, ge=0, description="another one is another take")
    prime: bool = Field(True, description="start from held-out audio, the same place for all stems")
    backend: Literal["auto", "compiled", "reference"] = Field(
        "auto", description="compiled kernels, or plain torch, which is a hundred times slower"
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto", description="of weights; auto: the fastest that moves the held-out loss by 0.001 nats at most"
    )
    takes: int = Field(1, ge=1, le=64, description="played side by side, the best of which is the stem's")
    keep: int = Field(1, ge=1, le=64, description="takes that are kept, the best ones")
    guards: GuardsConfig = GuardsConfig()

    @model_validator(mode="after")
    def _check_takes(self) -> Self:
        if self.keep > self.takes:
            raise ValueError(f"keep is {self.keep}, of {self.takes} takes; raise takes or lower keep")
        return self


class MixConfig(Section):
    """The sum of the stems."""

    clip_mode: Literal["rescale", "clamp", "tanh", "none"] = Field(
        "rescale",
        description="a sum above full scale: all of it quieter, or its peaks cut; tanh bends any sum",
    )
    gains_db: dict[str, Annotated[float, Field(ge=-120, le=60)]] = Field(
        default_factory=dict, description="a stem; 0 if not given"
    )


class OrchestrationConfig(Section):
    """Where tasks run. Nothing of it decides what comes out."""

    devices: list[Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]] = Field(
        ["auto"],
        min_length=1,
        description="where stems are trained, one at a time on each: [cuda:0, cuda:1], or [cpu, cpu] for two "
        "side by side; auto: every GPU there is, or the CPU",
        json_schema_extra=NO_CONTENT,
    )
    runner: Literal["threads", "dask", "ray"] = Field(
        "threads",
        description="threads of the flow's process, or workers of a cluster",
        json_schema_extra=NO_CONTENT,
    )
    address: str | None = Field(
        None,
        min_length=1,
        description="of a running cluster, as tcp://host:8786 or ray://host:10001; our own if not given",
        json_schema_extra=NO_CONTENT,
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="of a cluster of this machine; one a core if not given",
        json_schema_extra=NO_CONTENT,
    )
    gpus: int = Field(
        0, ge=0, description="that each training asks of a cluster's worker", json_schema_extra=NO_CONTENT
    )

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        if self.address is not None and self.runner == "threads":
            raise ValueError("address names a cluster, and runner is threads; set runner to dask or ray")
        return self


class TrackingConfig(Section):
    """What MLflow is told, besides figures, files and models."""

    system_metrics: bool = Field(
        True,
        description="processor, memory, disk, network and cards during a training",
        json_schema_extra=NO_CONTENT,
    )
    system_seconds: float = Field(
        10.0, ge=1, le=3600, description="between looks at them", json_schema_extra=NO_CONTENT
    )
    promote: bool = Field(
        False,
        description="make a model with fewer held-out bits the champion; else `waveband promote` does",
        json_schema_extra=NO_CONTENT,
    )


STEM_SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "training": TrainingConfig,
    "generation": GenerationConfig,
}


class StemOverrides(Section):
    """What one stem does differently: parts of its model, training and generation sections."""

    model: dict[str, Any] = Field(default_factory=dict, description="keys of its model section")
    training: dict[str, Any] = Field(default_factory=dict, description="keys of its training section")
    generation: dict[str, Any] = Field(default_factory=dict, description="keys of its generation section")


class StemConfig(Section):
    """The sections of one stem, overrides applied."""

    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    generation: GenerationConfig = GenerationConfig()


class Config(Section):
    """Everything a run needs to know, besides its input."""

    ingest: IngestConfig = IngestConfig()
    separation: SeparationConfig = SeparationConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    features: FeaturesConfig = FeaturesConfig()
    storage: StorageConfig = StorageConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    generation: GenerationConfig = GenerationConfig()
    mix: MixConfig = MixConfig()
    orchestration: OrchestrationConfig = OrchestrationConfig()
    tracking: TrackingConfig = TrackingConfig()
    stems: dict[str, StemOverrides] = Field(
        default_factory=dict, description="by a stem's name, what it does differently"
    )

    @model_validator(mode="after")
    def _check_stems(self) -> Self:
        for stem in self.stems:
            if self.for_stem(stem).generation.seconds != self.generation.seconds:
                raise ConfigError(
                    f"stems.{stem}.generation.seconds: takes of one length make a mix; "
                    "set generation.seconds for all"
                )
        return self

    @property
    def hop_length(self) -> int:
        """Samples of a feature frame."""
        return max(1, round(self.ingest.sample_rate / self.features.frame_rate))

    @property
    def segment_length(self) -> int:
        """Samples of a segment, a whole number of feature frames.

        Unless it is configured: twice the longest receptive field, so that a segment alone holds a context
        and as many samples to score after it; a quarter of a second at least.
        """
        seconds = self.segmentation.segment_seconds
        length = (
            max(2 * self.receptive_field, self.ingest.sample_rate / 4)
            if seconds is None
            else seconds * self.ingest.sample_rate
        )
        return self.hop_length * max(1, math.ceil(round(length / self.hop_length, 6)))

    @property
    def receptive_field(self) -> int:
        """Samples of the longest receptive field of any stem."""
        return max(self.for_stem(stem).model.receptive_field for stem in [*self.stems, ""])

    def for_stem(self, stem: str) -> StemConfig:
        """The model, training and generation sections of one stem. Raises ConfigError."""
        overrides = self.stems.get(stem, StemOverrides())
        merged = {}
        for name, section in STEM_SECTIONS.items():
            values = merge_settings(getattr(self, name).model_dump(), getattr(overrides, name))
            try:
                merged[name] = section.model_validate(values)
            except ValidationError as error:
                raise _explain(error, section, f"stems.{stem}.{name}.") from None
        return StemConfig(**merged)


def num_generated_samples(config: GenerationConfig, sample_rate: int) -> int:
    """Length of a take in samples."""
    return max(1, math.ceil(round(config.seconds * sample_rate, 6)))  # 4.03 s * 8000 Hz is 32240


def load_config(
    sources: Iterable[str | Path] = (), overrides: Iterable[str] = (), changes: Mapping[str, Any] = NO_CHANGES
) -> Config:
    """Compose a configuration: each source over the one before it, changes, then `key.path=value` overrides.

    A source is a name in `configs/` or the path of a YAML file; changes are sections as one would have them;
    values of overrides are YAML. Raises ConfigError on a missing file, an unknown key or a bad value.
    """
    values: dict[str, Any] = {}
    for source in sources:
        values = merge_settings(values, _read_yaml(find_config(source)))
    values = merge_settings(values, changes)
    for override in overrides:
        values = merge_settings(values, _parse_override(override))
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise _explain(error, Config) from None


def find_config(source: str | Path) -> Path:
    """The YAML file that a name or path refers to. Raises ConfigError naming what there is."""
    path = Path(source)
    if is_config_path(source):
        if path.is_file():
            return path
        raise ConfigError(
            f"{path}: no such config file; give a path that exists, or a name: {', '.join(config_names())}"
        )
    named = CONFIG_FOLDER / f"{source}.yaml"
    if not named.is_file():
        hint = _nearest(str(source), config_names())
        raise ConfigError(f"no config is named '{source}'{hint}; there are: {', '.join(config_names())}")
    return named


def is_config_path(source: str | Path) -> bool:
    """Whether a config is named by the path of a file, and is none of those that come with Waveband."""
    path = Path(source)
    return path.suffix in {".yaml", ".yml"} or len(path.parts) > 1


def config_names() -> list[str]:
    """Names of the configs that come with Waveband."""
    return sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml"))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if values is None:  # nothing but comments
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: found a {type(values).__name__}, expected sections with keys")
    return values


def _parse_override(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"'{text}' is no override; expected section.key=value, as in training.steps=500")
    try:
        parsed = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{key}: '{value}' is not a YAML value") from None
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Sections over sections, key by key; whatever is no section is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge_settings(merged[key], value) if both else value
    return merged


def _explain(error: ValidationError, root: type[BaseModel], prefix: str = "") -> ConfigError:
    """A ValidationError in words: each wrong key with what is known or expected there."""
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(root, problem["loc"][:-1])
            hint = _nearest(str(problem["loc"][-1]), known)
            lines.append(f"{prefix}{path}: unknown key{hint}; known here: {', '.join(known)}")
        elif problem["type"] in {"model_type", "dict_type"}:
            lines.append(f"{prefix}{path}: found {problem['input']!r}, expected a section with keys")
        else:
            found = problem["input"]
            is_list = problem["type"] == "list_type" and "[" not in path  # a key, and no part of a union
            hint = f"; write {prefix}{path}=[{found}]" if is_list else ""
            lines.append(f"{prefix}{path}: {problem['msg']} (found {found!r}){hint}")
    return ConfigError("\n".join(lines))


def _known_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    model: Any = root
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else StemOverrides
    return sorted(getattr(model, "model_fields", {}))


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
