"""The command line: `waveband run`, `doctor`, `plan`, `prepare`, `train`, `generate`, `shards verify` ...

Knows nothing of how the work is done. Results go to standard output, progress to standard error; an
error that was foreseen is one message and exit status 1, never a traceback.
"""

import json
import re
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from flows.printing import (
    generated_summary,
    print_evaluation,
    print_generated,
    print_prepared,
    print_report,
    print_result,
    print_set_aside,
    print_some,
    print_tables,
    print_training,
    print_warnings,
    printable,
    summary,
    training_summary,
)
from flows.runtime import prepare_environment
from wavenet.config import config_names
from wavenet.errors import ConfigError, WavebandError

CONFIGS = ", ".join(config_names())
HELP = f"""Train a band of WaveNets on your own music: one model per stem, summed into a mix.

As in: waveband run --input ~/Music/records --config album training.steps=2000

Configs are {CONFIGS}, or a YAML file of yours. `waveband config` prints every key there is, its value and
what it means; each can be set as section.key=value.
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

WorkspaceOption = Annotated[
    str, typer.Option(help="Folder or s3:// address that holds everything made on the way.")
]
RetrainOption = Annotated[list[str], typer.Option(help="Stem to train and generate again. May repeat.")]
InitOption = Annotated[
    list[str],
    typer.Option(
        help="Weights to begin with: a folder or file, models:/NAME/VERSION or runs:/RUN_ID/model; STEM=... "
        "for one stem alone. May repeat.",
    ),
]
InputOption = Annotated[
    str, typer.Option(help="Folder, glob, manifest (CSV, JSONL) or URL of tracks, or of songs as stems.")
]
ConfigOption = Annotated[
    list[str],
    typer.Option(help=f"{CONFIGS}, or the path of a YAML file. May repeat, each over the one before."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="section.key=value, as in training.steps=2000; `waveband config` lists them.", show_default=False
    ),
]


INIT_OF_STEM = re.compile(r"(?P<stem>[a-z0-9][a-z0-9_-]{0,31})=(?P<place>.+)")
OVERRIDE = re.compile(r"[a-z_]+\.[^=/]+=")
INTERRUPTED = 130
"""The exit status that Typer makes of Ctrl-C, after a shell's."""
STORES = {"botocore", "aiobotocore", "aiohttp"}
"""Packages whose errors, where nothing else has put them into words, are of a remote store."""


def print_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"waveband {version('waveband')}")
        raise typer.Exit


@app.callback()
def waveband(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command()
def run(
    input: InputOption,
    config: ConfigOption = ["album"],  # noqa: B006
    overrides: OverridesArgument = None,
    workspace: WorkspaceOption = Path("workspace"),
    retrain: RetrainOption = [],  # noqa: B006
    init_from: InitOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """From a folder of records to a mix: everything that is not done yet."""
    overrides = [*(overrides or []), *init_overrides(init_from)]
    run_pipeline(input, config, overrides, workspace, retrain, as_json)


@app.command()
def demo(
    overrides: OverridesArgument = None,
    workspace: WorkspaceOption = Path("workspace"),
    retrain: RetrainOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """The whole way on an album that Waveband synthesizes itself."""
    from tasks.remote import workspace_at
    from wavenet.data.demo_album import write_demo_album

    album = write_demo_album(workspace_at(workspace).root / "demo-album")
    run_pipeline(str(album), ["demo"], overrides or [], workspace, retrain, as_json)


@app.command()
def doctor(
    input: Annotated[str, typer.Argument(help="Folder, glob, manifest or URL.", show_default=False)],
    overrides: OverridesArgument = None,
    config: ConfigOption = ["album"],  # noqa: B006
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """What happens to each file and how good the setting can sound, before anything is trained.

    Where MLFLOW_RUN_ID names a run of MLflow, the report is logged to it.
    """
    begin("the input", input, config, overrides or [], workspace)
    from flows.doctor import examine_input
    from tasks.remote import workspace_at
    from tasks.tracking import log_to_run_under_way
    from wavenet.evaluation.doctor import report_json

    output = examine_input(input, config, overrides or [], workspace)
    print_report(output.report)
    print(f"page    {output.page}")
    print(f"json    {output.json_file}")
    if run_id := log_to_run_under_way(workspace_at(workspace), output):
        print(f"logged to the MLflow run {run_id}")
    if as_json:
        print(json.dumps(report_json(output.report), ensure_ascii=False, allow_nan=False))


@app.command()
def plan(
    overrides: OverridesArgument = None,
    config: ConfigOption = ["album"],  # noqa: B006
    input: Annotated[
        str | None, typer.Option(help="Folder, glob, manifest or URL; without it, the networks alone.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    seconds: Annotated[
        float, typer.Option(min=0, max=600, help="How long to try the training of each kind of network.")
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """How far back the networks hear, how long training takes here, whether there is enough music."""
    if input is not None:
        begin("--input", input, config, overrides or [], workspace)
    from flows.planning import plan_json, plan_training
    from wavenet.evaluation.forecast_tables import forecast_tables

    planned = plan_training(input, config, overrides or [], workspace, seconds)
    print_tables(forecast_tables(planned.forecasts))
    print_warnings(planned.warnings)
    print_some(f"note  {printable(note)}" for note in planned.notes)
    print_set_aside(planned.set_aside)
    if as_json:
        print(json.dumps(plan_json(planned, seconds), ensure_ascii=False, allow_nan=False))


@app.command()
def prepare(
    input: Annotated[str, typer.Argument(help="Folder, glob, manifest or URL.", show_default=False)],
    overrides: OverridesArgument = None,
    config: ConfigOption = ["album"],  # noqa: B006
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """From a folder of records to Parquet shards, one set a stem, and no further."""
    begin("the input", input, config, overrides or [], workspace)
    from flows.prepare import prepare_input

    made = prepare_input(input, config, overrides or [], workspace)
    print_prepared(made)
    if as_json:
        set_aside = [{"path": path, "reason": reason} for path, reason in made.set_aside]
        told = {"shards": made.places, "set_aside": set_aside, "notes": made.notes}
        print(json.dumps(told, ensure_ascii=False))


@app.command()
def train(
    shards: Annotated[str, typer.Argument(help="Shard set: a folder or URL.", show_default=False)],
    overrides: OverridesArgument = None,
    config: ConfigOption = ["album"],  # noqa: B006
    init_from: InitOption = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(help="Folder of the training; one in the workspace if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in that folder.")] = False,
    against_scratch: Annotated[
        bool, typer.Option("--against-scratch", help="Train from scratch as well, and compare.")
    ] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """One model on one shard set, as `prepare` prints them; by itself, in a folder of its own."""
    overrides = [*(overrides or []), *init_overrides(init_from)]
    begin("the shard set", shards, config, overrides, workspace)
    if out is not None:
        check_path("--out", out)
    from flows.training import train_shards

    output = train_shards(shards, config, overrides, workspace, out, resume, against_scratch)
    print_training(output)
    if as_json:
        print(json.dumps(training_summary(output), ensure_ascii=False))


@app.command()
def generate(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL OVERRIDES",
            help="Folder of a model, a stem's name in the workspace, models:/NAME/VERSION, "
            "models:/NAME@ALIAS or runs:/RUN_ID/model; then section.key=value, as in generation.top_k=40.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model, in place of the first argument.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="WAV or FLAC; further takes are numbered.")
    ] = Path("take.wav"),
    seconds: Annotated[float | None, typer.Option(help="generation.seconds")] = None,
    seed: Annotated[int | None, typer.Option(help="generation.seed")] = None,
    temperature: Annotated[float | None, typer.Option(help="generation.temperature")] = None,
    top_k: Annotated[int | None, typer.Option(help="generation.top_k")] = None,
    top_p: Annotated[float | None, typer.Option(help="generation.top_p")] = None,
    guidance: Annotated[float | None, typer.Option(help="generation.guidance")] = None,
    precision: Annotated[str | None, typer.Option(help="generation.precision")] = None,
    takes: Annotated[int | None, typer.Option(help="generation.takes")] = None,
    keep: Annotated[int | None, typer.Option(help="generation.keep: the best ones")] = None,
    prime: Annotated[
        str | None,
        typer.Option(help="What takes go on from: an audio file, heldout (the default if at hand), silence."),
    ] = None,
    prime_start: Annotated[
        float | None, typer.Option(min=0, help="Second of the file to hear from; its end if not given.")
    ] = None,
    keep_prime: Annotated[bool, typer.Option("--keep-prime", help="Leave the prime in the files.")] = False,
    label: Annotated[
        list[str], typer.Option(help="NAME=VALUE that the model is told, as album=Blue. May repeat.")
    ] = [],  # noqa: B006
    shards: Annotated[
        str | None, typer.Option(help="The model's shards, where they are not in the workspace.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the takes of that output.")] = False,
    config: ConfigOption = [],  # noqa: B006
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Play takes of a model: watched while they are made, kept whatever happens, the best first."""
    given = {
        "seconds": seconds, "seed": seed, "temperature": temperature, "top_k": top_k, "top_p": top_p,
        "guidance": guidance, "precision": precision, "takes": takes, "keep": keep,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    chosen, overrides = choose_model(arguments or [], model)
    begin("MODEL", chosen, config, overrides, workspace)
    check_path("--output", output)
    from flows.generating import Asked, generate_takes

    asked = Asked(prime, prime_start, keep_prime, dict(map(parse_label, label)), shards)
    made = generate_takes(chosen, output, config, overrides, workspace, asked, resume, given)
    print_generated(made)
    if as_json:
        print(json.dumps(generated_summary(made), ensure_ascii=False))


@app.command("config")
def show_config(
    sections: Annotated[
        list[str] | None, typer.Argument(help="Those sections alone.", show_default=False)
    ] = None,
    config: ConfigOption = [],  # noqa: B006
) -> None:
    """Every setting with its value and what it means, as a config file that can be edited and used."""
    from flows.settings import describe_settings
    from wavenet.config import load_config

    print(describe_settings(load_config(config), sections or []))


@app.command()
def deploy(
    workspace: WorkspaceOption = Path("workspace"),
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Of the Prefect server, where PREFECT_API_URL names none.")
    ] = 4200,
) -> None:
    """Serve the deployments from here, until Ctrl-C: build-and-train, prepare, train-stem ...

    With PREFECT_API_URL set, for that server; else a server is started on this machine alone.
    """
    root = settle(workspace, embedded=False)
    from flows.serving import prefect_server, serve_workspace
    from wavenet.data.shards.storage import is_url

    with prefect_server(root, port) as url:
        serve_workspace(workspace if is_url(workspace) else str(root), url)


@app.command()
def evaluate(
    overrides: OverridesArgument = None,
    input: Annotated[str | None, typer.Option(help="The last run's in the workspace, if not given.")] = None,
    config: Annotated[list[str], typer.Option(help="The last run's, if not given. May repeat.")] = [],  # noqa: B006
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Bits per sample of each stem's model on training, held-out and test audio, measured anew."""
    settle(workspace)
    from flows.running import run_flow

    result = run_flow(
        "flows.evaluate:evaluate", workspace, input=input, config=config, overrides=overrides or []
    )
    print_evaluation(result)
    if as_json:
        print(json.dumps({"bits_per_sample": result.bits}, ensure_ascii=False))


@app.command()
def runs(
    stem: Annotated[str | None, typer.Option(help="That stem alone.")] = None,
    last: Annotated[int, typer.Option(min=1, help="So many runs, the newest.")] = 20,
    params: Annotated[bool, typer.Option("--params", help="Show the settings that differ, too.")] = False,
    sync: Annotated[bool, typer.Option("--sync", help="First tell MLflow what it missed.")] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """The runs and their stems side by side, as MLflow shows them: held-out bits, settings, champions."""
    settle(workspace)
    from flows.runs import show_runs

    show_runs(workspace, stem, last, params, sync, as_json)


@app.command()
def promote(
    stems: Annotated[
        list[str] | None,
        typer.Argument(help="Stems; all that have a model if none is named.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where held-out bits do not compare: of the newest kind.")
    ] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: JsonOption = False,
) -> None:
    """Make each stem's model with the fewest held-out bits the champion, models:/waveband-STEM@champion.

    Exit status 1 where the newest model does not compare with the champion, and nothing was forced.
    """
    settle(workspace)
    from flows.runs import promote

    raise typer.Exit(0 if promote(workspace, stems or [], force, as_json) else 1)


shards_app = typer.Typer(help="Look after shard sets.", no_args_is_help=True)
app.add_typer(shards_app, name="shards")


@shards_app.command()
def verify(
    folders: Annotated[list[str], typer.Argument(help="Shard sets: folders or URLs.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Find any flipped byte, missing row or foreign file. Exit status 1 if there is one."""
    from wavenet.data.shards.checker import name_remedy, verify_shards
    from wavenet.data.shards.storage import open_location

    sets = []
    for folder in folders:
        place = open_location(folder)
        problems = verify_shards(place)
        remedy = name_remedy(place, problems)
        print(f"{printable(folder)}: {f'{len(problems)} problems' if problems else 'whole'}")
        for line in [*problems, *([f"to mend it: {remedy}"] if remedy else [])]:
            print(f"  {printable(line)}")
        sets.append({"folder": folder, "ok": not problems, "problems": problems, "remedy": remedy})
    ok = all(one["ok"] for one in sets)
    if as_json:
        print(json.dumps({"ok": ok, "sets": sets}, ensure_ascii=False))
    raise typer.Exit(0 if ok else 1)


def run_pipeline(
    input: str, config: list[str], overrides: list[str], workspace: str, retrain: list[str], as_json: bool
) -> None:
    """Run the flow, with embedded services or the servers that the environment names; print its result."""
    begin("--input", input, config, overrides, workspace)
    from flows.running import run_flow

    result = run_flow(
        "flows.build_and_train:build_and_train", workspace,
        input=input, config=config, overrides=overrides, retrain=retrain,
    )  # fmt: skip
    print_result(result, workspace)
    if as_json:
        print(json.dumps(summary(result), ensure_ascii=False))


def init_overrides(places: list[str]) -> list[str]:
    """What --init-from stands for: X for all stems, STEM=X for one; what there is of that name is a place."""
    overrides = []
    for text in places:
        named = None if Path(text).exists() else INIT_OF_STEM.fullmatch(text)
        section = f"stems.{named['stem']}.training" if named else "training"
        value = json.dumps(named["place"] if named else text, ensure_ascii=False)  # which is YAML, too
        overrides.append(f"{section}.init_from={value}")
    return overrides


def choose_model(arguments: list[str], option: str | None) -> tuple[str, list[str]]:
    """The model and the overrides, of which only these look like KEY=VALUE and name a file by no chance.

    Raises ConfigError where there is no model, or two.
    """
    first = arguments[0] if arguments and not is_override(arguments[0]) else None
    if first is not None and option is not None:
        raise ConfigError(f"two models are named, {first} and --model {option}; name one")
    if first is None and option is None:
        raise ConfigError(
            "no model is named: `waveband generate STEM`, a folder of a model, or "
            "models:/waveband-STEM@champion"
        )
    return (option, arguments) if option is not None else (arguments[0], arguments[1:])


def is_override(text: str) -> bool:
    """Whether a text is section.key=value, and no place of that name."""
    return bool(OVERRIDE.match(text)) and not Path(text).exists()


def parse_label(text: str) -> tuple[str, str]:
    """NAME=VALUE as both."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"--label {text}: expected NAME=VALUE, as in album=Blue")
    return name.strip(), value


def begin(option: str, input: str, config: list[str], overrides: list[str], workspace: str) -> None:
    """Refuse what cannot work before anything starts, and set what services read when imported."""
    from wavenet.config import load_config
    from wavenet.data.shards.storage import plain_target

    settings = load_config(config, overrides)
    if settings.storage.shards is not None:
        plain_target(settings.storage.shards)
    check_path(option, input)
    settle(workspace)


def settle(workspace: str, embedded: bool = True) -> Path:
    """Set what services read when imported, for a workspace's folder or an address's cache; where that is."""
    from tasks.remote import workspace_at

    check_path("--workspace", workspace)
    root = workspace_at(workspace).root
    check_path("--workspace", root)
    prepare_environment(root, embedded)
    return root


def check_path(option: str, path: Path | str) -> None:
    """Refuse a path that services cannot be told of: it goes into URIs and JSON. An empty one is no path."""
    if not str(path).strip():
        raise ConfigError(f"{option} is empty; name a folder, a file, a pattern or an address")
    if option == "--workspace" and any(char in str(Path(path).resolve()) for char in "?%#"):
        raise ConfigError(f"{option}: {Path(path).resolve()} has one of ? % # in it; choose another folder")
    if not str(path).isprintable():
        raise ConfigError(f"{option}: {printable(str(path))} is not printable text; rename the folder")


def main() -> None:
    """Entry point: foreseen errors as one message, Ctrl-C as one line."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a name the terminal has no letters for
    try:
        app()
    except WavebandError as error:
        print(f"waveband: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        print(
            f"waveband: {error.strerror or error}: {error.filename or ''}; nothing is lost, run again "
            "when it is mended",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    except RuntimeError as error:
        if "reach API" not in str(error):
            raise
        print(f"waveband: {error}; check PREFECT_API_URL, or unset it for the embedded API", file=sys.stderr)
        raise SystemExit(1) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in STORES:
            raise
        print(
            f"waveband: a remote store cannot be used: {error}; nothing is lost, run again", file=sys.stderr
        )
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            how = " with --resume" if sys.argv[1:2] in (["train"], ["generate"]) else ""
            print(f"\nwaveband: stopped; run the same command{how} to go on", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
