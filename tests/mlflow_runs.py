"""What MLflow has of a workspace's runs."""

from mlflow import MlflowClient


def client_of(workspace):
    return MlflowClient(tracking_uri=f"sqlite:///{workspace}/mlflow.db")


def runs_of(client):
    """Parents, newest first, each with its children by stem. A copied workspace has two experiments."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, order_by=["attributes.start_time DESC"])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return [(parent, children_of(parent, runs)) for parent in parents]


def children_of(parent, runs):
    mine = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return {run.data.tags["stem"]: run for run in mine}


def latest_runs(workspace):
    """Runs of the latest pipeline run, by stem, the parent's as None."""
    parent, children = runs_of(client_of(workspace))[0]
    return {None: parent, **children}
