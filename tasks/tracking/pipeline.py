"""The MLflow runs of one pipeline run: a parent, and a child for each stem.

Knows what is told of a run and when, and nothing of how it is sent. The invariant: nothing that is told here
can fail a run; ids and addresses are None until MLflow has answered.
"""

import functools
import json
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tasks.doctor import DoctorOutput
from tasks.records import BaselinesRecord, EvaluationRecord, MixRecord, ModelRecord, ShardsRecord, TakeRecord
from tasks.tracking.delivery import Delivery, sync_outboxes
from tasks.tracking.doctor import doctor_entries
from tasks.tracking.entries import (
    Begin,
    End,
    Entry,
    Files,
    Params,
    Tags,
    Text,
    figures,
    metrics_of,
    now,
)
from tasks.tracking.facts import data_of, final_figures, model_of
from tasks.tracking.mirror import TrackedStem
from tasks.tracking.outbox import PARENT, Outbox, new_outboxes
from tasks.tracking.store import is_server, named_uri
from tasks.tracking.words import (
    HELDOUT_TAG,
    MODEL_TAG,
    NOTE,
    REUSED_TAG,
    data_params,
    describe_run,
    describe_stem,
    flatten,
    heldout_digest,
    name_of_stem,
    name_with_changes,
    params_of,
    run_tags,
    stem_tags,
)
from tasks.workspace import Workspace
from wavenet.config import StemConfig, TrackingConfig
from wavenet.data.shards.format import Manifest, read_manifest
from wavenet.data.stores import public_address, public_text
from wavenet.evaluation.take_scores import SCORES, flat_metrics, read_scores
from wavenet.files import digest_bytes
from wavenet.model import CARD, WEIGHTS
from wavenet.training.metrics import METRICS, STEP, read_metrics

Status = Literal["FINISHED", "FAILED", "KILLED"]
DEFAULT = TrackingConfig()


def _never_fatal(method: Callable) -> Callable:
    """An error becomes one warning; the call returns None."""

    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            warnings.warn(
                f"MLflow: {method.__name__} failed ({public_text(str(error))}); the run goes on, its metrics "
                "are in the workspace",
                stacklevel=2,
            )
            return None

    return guarded


class _Stem:
    """What is known of a stem's run while it is open."""

    def __init__(self, outbox: Outbox, tags: Mapping[str, str], manifest: Manifest) -> None:
        self.outbox, self.tags, self.manifest = outbox, dict(tags), manifest


class PipelineTracker:
    """Tells MLflow of one pipeline run. folder: of its outboxes."""

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        name: str,
        overrides: Sequence[str],
        settings: TrackingConfig,
    ) -> None:
        self.workspace, self.name, self.overrides, self.settings = workspace, name, overrides, settings
        self.folder, self.delivery = folder, Delivery(workspace, folder)
        self.parent = Outbox(folder, PARENT)
        self.tags: dict[str, str] = {}
        self.stems: dict[str, _Stem] = {}
        self.bits: dict[str, tuple[float, float]] = {}

    @_never_fatal
    def start(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Open the parent run."""
        self.tags = run_tags(tags)
        name = name_with_changes(self.name, self.overrides)
        begin = Begin(name=name, tags=self.tags, parent=None, when=now())
        self._tell(self.parent, begin, Params(values=params_of(params)), self._note())

    @_never_fatal
    def start_stem(
        self,
        place: Workspace,
        stem: str,
        config: StemConfig,
        shards: ShardsRecord,
        tags: Mapping[str, str] | None = None,
    ) -> TrackedStem | None:
        """Open a stem's child run with its settings and its data set.

        tags: more than its own, as `prefect_tags`. Returns where its training tells metrics.
        """
        manifest = read_manifest(place.path(shards.folder))
        outbox = Outbox(self.folder, self.workspace.name_of(digest_bytes(stem.encode()), stem))
        opened = _Stem(outbox, stem_tags(stem, tags or {}), manifest)
        self.stems[stem] = opened
        begin = Begin(
            name=name_of_stem(stem, self.name, self.overrides),
            tags={**opened.tags, HELDOUT_TAG: heldout_digest(manifest)},
            parent=PARENT,
            when=now(),
        )
        params = {"stem": stem, **flatten(config.model_dump(mode="json")), **data_params(manifest)}
        data = data_of(stem, shards, manifest, place.path(shards.folder))
        self._tell(outbox, begin, Params(values=params_of(params)), data)
        seconds = self.settings.system_seconds if self.settings.system_metrics else None
        return TrackedStem(run=self.folder.name, label=outbox.label, system_seconds=seconds)

    @_never_fatal
    def tag_stem(self, stem: str, tags: Mapping[str, str]) -> None:
        """Tell more of a stem's run, as `prefect_tags`, which its description then leads to."""
        self.stems[stem].tags.update(tags)
        self._tell(self.stems[stem].outbox, Tags(values=dict(tags)))

    @_never_fatal
    def log_training(
        self, place: Workspace, stem: str, model: ModelRecord, baselines: BaselinesRecord, reused: bool
    ) -> None:
        """Figures, loss curve and weights of a stem; the curve only where its training has told none here:
        it was reused, or was elsewhere."""
        one = self.stems[stem]
        self.bits[stem] = (model.heldout_bits, baselines.bits.best[1])
        note = describe_stem(model, baselines, reused, one.tags)
        tags = {REUSED_TAG: str(reused).lower(), MODEL_TAG: model.digest, NOTE: note}
        rows = [] if one.outbox.has_metrics else read_metrics(place.path(model.folder) / METRICS)
        final = figures({f"final/{name}": value for name, value in final_figures(model, baselines).items()})
        pictures = Files(path=model.folder, to="model", less=[WEIGHTS, CARD])
        registered = model_of(one.manifest, model, self.settings.promote)
        self._tell(one.outbox, Tags(values=tags), *metrics_of(rows, STEP), final, pictures, registered)

    @_never_fatal
    def log_take(self, place: Workspace, stem: str, take: TakeRecord) -> None:
        """A stem's sound, its spectrogram and scores, the record's own beside them; then the stem is done."""
        scores = read_scores(place.path(take.folder) / SCORES)
        told: list[Entry] = [figures(flat_metrics(scores.takes[0]))] if scores else []
        outbox = self.stems[stem].outbox
        self._tell(outbox, *told, Files(path=take.folder, to="take"), End(status="FINISHED", when=now()))

    @_never_fatal
    def log_mix(self, place: Workspace, mix: MixRecord, report: Path) -> None:
        """The mix, its loudness, the listening page and the stems' figures, with the parent."""
        bits = {f"heldout_bits/{stem}": mine for stem, (mine, _) in self.bits.items()}
        loudness = {"mix/loudness_lufs": mix.loudness_lufs, "mix/peak": mix.peak}
        files = [Files(path=mix.folder, to="mix"), Files(path=str(report), to=None)]
        self._tell(self.parent, figures({**loudness, **bits}), *files, self._note())

    @_never_fatal
    def log_evaluation(self, stem: str, measured: EvaluationRecord, baselines: BaselinesRecord) -> None:
        """A stem's bits on each split, with the parent."""
        if "heldout" in measured.bits:
            self.bits[stem] = (measured.bits["heldout"], baselines.bits.best[1])
        bits = {f"{split}_bits/{stem}": value for split, value in measured.bits.items()}
        self._tell(self.parent, figures(bits), self._note())

    @_never_fatal
    def log_doctor(self, output: DoctorOutput) -> None:
        """The doctor's page and its rows, with the parent."""
        self._tell(self.parent, *doctor_entries(output))

    @_never_fatal
    def log_config(self, values: Mapping[str, Any]) -> None:
        """Keep the whole configuration with the parent."""
        self._tell(self.parent, Text(text=json.dumps(dict(values), indent=2), to="config.json"))

    def run_id(self, stem: str | None = None) -> str | None:
        """The id in MLflow of a stem's run, or of the parent; None until MLflow has answered."""
        outbox = self.stems[stem].outbox if stem else self.parent
        return outbox.sent.run_id or self.delivery.run_ids.get(outbox.label)

    def url(self, stem: str | None = None) -> str | None:
        """The page of that run, where MLflow is a server that has answered."""
        run_id = self.run_id(stem)
        if not run_id or not is_server(self.delivery.uri):
            return None
        server = public_address(self.delivery.uri).rstrip("/")
        return f"{server}/#/experiments/{self.delivery.experiment}/runs/{run_id}"

    @_never_fatal
    def finish(self, status: Status) -> None:
        """Close whatever is open, and tell what waits."""
        for outbox in [*(one.outbox for one in self.stems.values()), self.parent]:
            if not outbox.has_end:
                outbox.add(End(status=status, when=now()))
        self.delivery.deliver(force=True)

    def _tell(self, outbox: Outbox, *entries: Entry) -> None:
        outbox.add(*entries)
        self.delivery.deliver()

    def _note(self) -> Tags:
        return Tags(values={NOTE: describe_run(self.tags.get("input", ""), self.bits, self.tags)})


@contextmanager
def tracked_run(
    workspace: Workspace,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    overrides: Sequence[str] = (),
    settings: TrackingConfig = DEFAULT,
) -> Iterator[PipelineTracker]:
    """The parent run of a pipeline run, closed as what happened: finished, failed or killed.

    overrides: what distinguishes it from others of its name. What earlier runs could not tell is told first.
    """
    sync_outboxes(workspace)
    with new_outboxes(workspace, uuid.uuid4().hex[:12], named_uri()) as folder:
        tracker = PipelineTracker(workspace, folder, name, overrides, settings)
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
