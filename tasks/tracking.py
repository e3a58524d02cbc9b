"""MLflow: one parent run a pipeline run, one child a stem. The only importer of mlflow.

MLflow is a mirror of what lies in the workspace. The invariant: an MLflow that cannot be reached
costs a warning and never a training; but where weights are asked of it by name, an error.
"""

import functools
import json
import os
import re
import shlex
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.doctor import DoctorOutput
from tasks.records import BaselinesRecord, MixRecord, ModelRecord, ShardsRecord, TakeRecord
from tasks.workspace import Workspace
from wavenet.config import StemConfig
from wavenet.data.shards.format import read_manifest
from wavenet.data.splits import SPLITS
from wavenet.errors import ConfigError
from wavenet.evaluation.take_scores import SCORES, flat_metrics, read_scores
from wavenet.files import digest_json
from wavenet.training.metrics import STEP, read_metrics

EXPERIMENT = "waveband"
INIT_FROM = "training.init_from"
ROWS_A_BATCH = 100
SECONDS_A_BATCH, LONGEST_WAIT = 2.0, 300.0
RUN_URI = re.compile(r"runs:/(?P<run>\w+)/(?P<path>.+)")
VERSION_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>\d+)|@(?P<alias>.+))")
NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
"""MLflow's codes of what it knows nothing of."""


def tracking_uri(workspace: Workspace) -> str:
    """MLFLOW_TRACKING_URI, or SQLite in the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root}/mlflow.db"


def ui_command(workspace: Workspace) -> str:
    """What to type to look at the runs."""
    return f"mlflow ui --backend-store-uri {shlex.quote(tracking_uri(workspace))}"


def _never_fatal(method: Callable) -> Callable:
    """An error of MLflow becomes one warning; the call returns None."""

    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            warnings.warn(
                f"MLflow: {method.__name__} failed ({error}); the run goes on, "
                "its metrics are in the workspace",
                stacklevel=2,
            )
            return None

    return guarded


def _client(uri: str) -> Any:
    from mlflow import MlflowClient  # a second to import

    return MlflowClient(tracking_uri=uri)


def make_database(uri: str) -> None:
    """Make MLflow's SQLite database, whole or not at all: killed amid its migrations it stays broken."""
    path = Path(uri.removeprefix("sqlite:///"))
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    _client(f"sqlite:///{temporary}").search_experiments()
    temporary.replace(path)


class MetricsMirror:
    """A Reporter that sends lines of metrics to an MLflow run, in batches. Without a run it does nothing."""

    def __init__(self, uri: str, run_id: str | None) -> None:
        self.uri, self.run_id = uri, run_id
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.sent, self.wait = time.monotonic(), SECONDS_A_BATCH

    def begin(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Tell a new run what earlier sessions of its training reported."""
        for row in rows:
            self.report(row)

    def report(self, row: Mapping[str, float]) -> None:
        if self.run_id:
            self.rows.append((int(time.time() * 1000), dict(row)))
            if time.monotonic() - self.sent > self.wait:
                self.flush()

    def tell(self, message: str) -> None:
        """Remarks are for the terminal."""

    def flush(self) -> None:
        """Send what is waiting; if MLflow cannot be reached it goes on waiting, each time longer."""
        self._send()
        self.sent = time.monotonic()
        self.wait = min(LONGEST_WAIT, 2 * self.wait) if self.rows else SECONDS_A_BATCH

    @_never_fatal
    def _send(self) -> None:
        from mlflow.entities import Metric

        while self.rows and self.run_id:
            batch = self.rows[:ROWS_A_BATCH]
            metrics = [
                Metric(key, value, when, int(row[STEP]))
                for when, row in batch
                for key, value in row.items()
                if key != STEP
            ]
            _client(self.uri).log_batch(self.run_id, metrics=metrics, synchronous=True)
            del self.rows[: len(batch)]


@contextmanager
def metrics_mirror(workspace: Workspace, run_id: str | None) -> Iterator[MetricsMirror]:
    """A mirror that is flushed at the end, whatever that end is."""
    mirror = MetricsMirror(tracking_uri(workspace), run_id)
    try:
        yield mirror
    finally:
        mirror.flush()


class PipelineTracker:
    """The MLflow runs of one pipeline run. Run ids are None where MLflow could not be reached."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace, self.name = workspace, name
        self.uri = tracking_uri(workspace)
        self.children: dict[str, str] = {}
        self.experiment: str | None = None
        self.parent: str | None = None

    @functools.cached_property
    def client(self) -> Any:
        return _client(self.uri)

    @_never_fatal
    def start(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Open the parent run."""
        self.experiment = self._experiment()
        self.parent = self._create_run(self.name, tags)
        self._log_params(self.parent, params)

    @_never_fatal
    def start_stem(self, place: Workspace, stem: str, config: StemConfig, shards: ShardsRecord) -> str | None:
        """Open a stem's child run with its settings and its dataset. Returns its id."""
        if not self.parent:
            return None
        run_id = self._create_run(stem, {"mlflow.parentRunId": self.parent, "stem": stem})
        self.children[stem] = run_id
        self._describe_stem(run_id, place, stem, config, shards)
        return run_id

    @_never_fatal
    def _describe_stem(
        self, run_id: str, place: Workspace, stem: str, config: StemConfig, shards: ShardsRecord
    ) -> None:
        self._log_params(run_id, {"stem": stem, **flatten(config.model_dump(mode="json"))})
        self._log_dataset(run_id, stem, shards, place.path(shards.folder))

    @_never_fatal
    def log_training(
        self, place: Workspace, stem: str, model: ModelRecord, baselines: BaselinesRecord, reused: bool
    ) -> None:
        """Figures, loss curve and weights of a stem; a reused training's metrics are told again."""
        run_id, folder = self.children.get(stem), place.path(model.folder)
        if not run_id:
            return
        self.client.set_tag(run_id, "waveband.reused", str(reused).lower())
        self.client.set_tag(run_id, "waveband.model_digest", model.digest)
        if reused:
            with metrics_mirror(place, run_id) as mirror:
                mirror.begin(read_metrics(folder / "metrics.jsonl"))
        figures = model.model_dump(include={"num_parameters", "seconds"})
        figures |= {f"{name}_bits": bits for name, bits in baselines.bits.models.items()}
        figures["bits_per_16_bit_sample"] = model.heldout_bits + baselines.bits.unresolved
        self._log_figures(run_id, {f"final/{name}": value for name, value in figures.items()})
        self.client.log_artifacts(run_id, str(folder), "model")

    @_never_fatal
    def log_take(self, place: Workspace, stem: str, take: TakeRecord) -> None:
        """A stem's sound, its spectrogram and scores, the record's own beside them; then the stem is done."""
        run_id = self.children.get(stem)
        if not run_id:
            return
        if scores := read_scores(place.path(take.folder) / SCORES):
            self._log_figures(run_id, flat_metrics(scores.takes[0]))
        for path in sorted(place.path(take.folder).iterdir()):
            self.client.log_artifact(run_id, str(path), "take")
        self.client.set_terminated(run_id, "FINISHED")
        del self.children[stem]

    @_never_fatal
    def log_mix(self, place: Workspace, mix: MixRecord, report: Path) -> None:
        """The mix, its loudness, and the listening page, with the parent."""
        if self.parent:
            figures = {"mix/loudness_lufs": mix.loudness_lufs, "mix/peak": mix.peak}
            self._log_figures(self.parent, {key: v for key, v in figures.items() if v is not None})
            for path in sorted(place.path(mix.folder).iterdir()):
                self.client.log_artifact(self.parent, str(path), "mix")
            self.client.log_artifact(self.parent, str(report))

    @_never_fatal
    def log_doctor(self, output: DoctorOutput) -> None:
        """The doctor's page and its rows, with the parent."""
        if self.parent:
            log_doctor(self.uri, self.parent, output)

    @_never_fatal
    def log_config(self, values: Mapping[str, Any]) -> None:
        """Keep the whole configuration with the parent."""
        if self.parent:
            self.client.log_dict(self.parent, dict(values), "config.json")

    def finish(self, status: str) -> None:
        """Close whatever is open. status: FINISHED, FAILED or KILLED."""
        for run_id in [*self.children.values(), self.parent]:
            if run_id:
                self._close(run_id, status)

    @_never_fatal
    def _close(self, run_id: str, status: str) -> None:
        self.client.set_terminated(run_id, status)

    def _experiment(self) -> str:
        """The experiment's id. In a workspace that was moved it is a new one: MLflow keeps an experiment's
        artifacts under the absolute path it was made with."""
        if not self.uri.startswith("sqlite:"):
            return self._find_or_create(EXPERIMENT, None)
        place = (self.workspace.root / "mlflow-artifacts").as_uri()
        with self.workspace.lock("mlflow"):
            make_database(self.uri)
            found = self.client.get_experiment_by_name(EXPERIMENT)
            moved = found is not None and found.artifact_location != place
            return self._find_or_create(
                f"{EXPERIMENT} {digest_json(place)[:6]}" if moved else EXPERIMENT, place
            )

    def _find_or_create(self, name: str, artifact_location: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI's view for training runs
        return self.client.create_experiment(name, artifact_location=artifact_location, tags=tags)

    def _create_run(self, name: str, tags: Mapping[str, str]) -> str:
        tags = {"mlflow.user": os.environ.get("USER", "unknown"), "mlflow.source.name": "waveband", **tags}
        return self.client.create_run(self.experiment, run_name=name, tags=dict(tags)).info.run_id

    def _log_dataset(self, run_id: str, stem: str, shards: ShardsRecord, folder: Path) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        manifest = read_manifest(folder)
        schema = manifest.model_dump(include={"sample_rate", "quantization_channels", "segment_length"})
        profile = {split: manifest.num_samples(split) for split in SPLITS}
        dataset = Dataset(
            f"{stem}-shards",
            shards.digest,
            "local",
            json.dumps({"uri": folder.as_uri()}),
            schema=json.dumps(schema),
            profile=json.dumps(profile),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        self.client.log_inputs(run_id, [DatasetInput(dataset, tags)])

    def _log_figures(self, run_id: str, figures: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(run_id, metrics=[Metric(key, value, now, 0) for key, value in figures.items()])

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self.client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])


def log_doctor(uri: str, run_id: str, output: DoctorOutput) -> None:
    """Keep the doctor's page and its rows with a run, and what there is to train on as figures."""
    client = _client(uri)
    client.log_artifact(run_id, str(output.page), "doctor")
    client.log_artifact(run_id, str(output.json_file), "doctor")
    for stem, splits in output.report.totals.seconds.items():
        for split, seconds in splits.items():
            client.log_metric(run_id, f"data/{_metric_name(stem)}/{split}_minutes", seconds / 60)


@_never_fatal
def log_to_run_under_way(workspace: Workspace, output: DoctorOutput) -> str | None:
    """Log to the run that MLFLOW_RUN_ID names, if it names one. Returns its id."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if run_id:
        log_doctor(tracking_uri(workspace), run_id, output)
    return run_id


def is_mlflow_uri(text: str) -> bool:
    """Whether a place is one in MLflow."""
    return text.startswith(("models:", "runs:"))


def download_weights(workspace: Workspace, uri: str, folder: Path, option: str = INIT_FROM) -> Path:
    """Copy what models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/PATH names into a folder.

    option: what a person asked with. Returns where it lies there. Raises ConfigError where the URI is none of
    these, or MLflow knows nothing of it or cannot be reached.
    """
    if not (RUN_URI.fullmatch(uri) or VERSION_URI.fullmatch(uri)):
        raise ConfigError(
            f"{option}={uri}: expected models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/model"
        )
    store = tracking_uri(workspace)
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).exists():
        raise _not_there(f"{option}={uri}", store, "there are no runs yet")
    try:
        return _download(store, uri, folder)
    except Exception as error:  # each store of artifacts has its own kinds
        if getattr(error, "error_code", None) in NOT_THERE or isinstance(error, FileNotFoundError):
            raise _not_there(f"{option}={uri}", store, str(error)) from None
        raise ConfigError(
            f"{option}={uri}: MLflow at {store} cannot be reached ({error}); check "
            "MLFLOW_TRACKING_URI, or name a folder"
        ) from error


def _download(store: str, uri: str, folder: Path) -> Path:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.artifacts import download_artifacts

    if named := VERSION_URI.fullmatch(uri):
        uri = _source_of_version(store, **named.groupdict())
    return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=store))


def _source_of_version(store: str, name: str, version: str | None, alias: str | None) -> str:
    """Where a registered version's files lie. Asked of a client: MLflow's own way for models:/ takes another
    registry than that of the store."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or store)
    number = version or client.get_model_version_by_alias(name, alias).version
    return client.get_model_version_download_uri(name, str(number))


def _not_there(asked: str, store: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{asked}: not found in MLflow at {store} ({reason}); `mlflow ui` shows what "
        "there is, MLFLOW_TRACKING_URI says where"
    )


def _metric_name(name: str) -> str:
    """A stem's name as MLflow takes it in a metric's."""
    return re.sub(r"[^\w. -]", "_", name)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`, comparable side by side in MLflow."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@contextmanager
def tracked_run(
    workspace: Workspace, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
) -> Iterator[PipelineTracker]:
    """The parent run of a pipeline run, closed as what happened: finished, failed or killed."""
    tracker = PipelineTracker(workspace, name)
    tracker.start(params, tags)
    try:
        yield tracker
    except Exception:
        tracker.finish("FAILED")
        raise
    except BaseException:
        tracker.finish("KILLED")
        raise
    tracker.finish("FINISHED")
