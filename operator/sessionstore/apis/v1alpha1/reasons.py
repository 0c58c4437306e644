"""Every reason that a condition of a SessionStore may have: an API, named here and nowhere else.

Below each name: what is true, what that does not mean where one might think so, and what a person
should do. docs/conditions.md says the same to users; tests/docs/ keeps the two in step.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The reasons, by the condition that first gives them."""

    # Ready
    READY = "Ready"
    """All that Ready folds is true. It does not mean that sharing was proven: see Shared."""

    # Provisioned
    PROVISIONED = "Provisioned"
    """The store answers. It does not mean that any gateway uses it."""
    CREATING = "Creating"
    """The store's objects exist or are being made, and its pod is on its way. Wait."""
    POD_UNSCHEDULABLE = "PodUnschedulable"
    """The scheduler finds no node; its message is passed on. Make room, or change resources, affinity, tolerations."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The node cannot get an image; the registry's message is passed on. Correct the image or the pull secret."""
    VOLUME_PENDING = "VolumePending"
    """The volume is not bound or not attached; the provisioner's message is passed on. Look at the StorageClass."""
    CRASH_LOOPING = "CrashLooping"
    """A container ends again and again; exit code and last words are passed on. Read its log; OOMKilled: add memory."""
    CONTAINER_NOT_STARTED = "ContainerNotStarted"
    """The node cannot start a container; the kubelet's message is passed on. Give it what it misses."""
    PODS_NOT_CREATED = "PodsNotCreated"
    """The API server refuses the pod: quota, pod security, webhook. Its message is passed on; give it what it asks."""
    ENGINE_UNREACHABLE = "EngineUnreachable"
    """The pod runs and the store does not answer us. Gateways may still reach it. See NetworkPolicies, its log."""
    RESTARTING = "Restarting"
    """The store's pod ended and another is coming up. Data is on its volume. Wait; look at its events if it lasts."""
    STORAGE_SHRINK_REFUSED = "StorageShrinkRefused"
    """storage.size is below the live volume, and a volume cannot shrink. Nothing was changed. Put the size back."""
    STORAGE_GROWTH_REFUSED = "StorageGrowthRefused"
    """The StorageClass does not allow growth. The old size goes on. Allow it there, or move to another store."""
    CHILD_CONFLICT = "ChildConflict"
    """One of our objects cannot be applied; the API server's message is passed on. Nothing else was changed."""
    CONFIG_REFUSED = "ConfigRefused"
    """The spec asks the engine for what would break it, as a redis.config directive of ours. Take it out."""

    # CredentialsReady
    CREDENTIALS_READY = "CredentialsReady"
    """Every user of the spec can log in."""
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 -- a reason
    """A Secret that the spec names is not there. It may still come. Create it, or correct the name."""
    SECRET_INVALID = "SecretInvalid"  # noqa: S105 -- a reason
    """A Secret that the spec names lacks a key, or the key is empty. Add what the message names."""
    USERS_OUT_OF_SYNC = "UsersOutOfSync"
    """The store's users differ from the spec, or refuse us. They are brought in line by themselves; wait."""

    # Injected
    INJECTED = "Injected"
    """Every running pod of every gateway has its configuration. It does not mean that the gateway reads it."""
    NO_GATEWAYS = "NoGateways"
    """The spec names no gateway, so there is nothing to inject."""
    GATEWAY_NOT_FOUND = "GatewayNotFound"
    """A workload that the spec names is not there. It may still come. Create it, or correct workloadRef."""
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    """The workload has no container of that name, or several and none is named. Correct gateways[].container."""
    FIELD_CONFLICT = "FieldConflict"
    """Someone else owns a field that we would set. Reported, not fought. Remove it there, or the gateway here."""
    GATEWAY_TAKEN = "GatewayTaken"
    """Another SessionStore has this workload. Remove the gateway from one of the two."""
    CONTROLLED_BY_OWNER = "ControlledByOwner"
    """A controller owns the workload and would undo us. Configure the injection in the owner that the message names."""
    AWAITING_MIGRATION = "AwaitingMigration"
    """A gateway stays on its files until its volume is migrated. Nothing is wrong. See Migrated; mode Run starts it."""
    ROLLOUT_PENDING = "RolloutPending"
    """Pods run without the current configuration. Wait for the rollout; with OnDelete or a pause, finish it."""
    INJECTION_REFUSED = "InjectionRefused"
    """The API server or a webhook refuses the changed workload; its message is passed on."""
    LEFT_BEHIND = "LeftBehind"
    """A removed gateway still has our parts, since another manager applied them too. Take them out of its manifest."""

    # Migrated
    MIGRATED = "Migrated"
    """Every source was copied and the copy proven. The source is still there, unchanged and ageing."""
    NO_MIGRATION = "NoMigration"
    """The spec names no source."""
    PLANNING = "Planning"
    """A Job inspects the source. Nothing was changed."""
    PLANNED = "Planned"
    """The report is there and nothing was changed. Read it, then set migration.mode to Run."""
    FENCING = "Fencing"
    """The gateway is scaled to 0 so that nothing writes to the source. It comes back by itself, whatever happens."""
    COPYING = "Copying"
    """A Job copies and verifies behind the fence. Wait."""
    CUTTING_OVER = "CuttingOver"
    """The copy is proven; the gateway is injected and scaled back. Wait."""
    SOURCE_NOT_FOUND = "SourceNotFound"
    """The PersistentVolumeClaim is not there. It may still come. Correct the name, or create it."""
    PATH_NOT_FOUND = "PathNotFound"
    """The volume has no such path, or no sessions there. Correct sources[].path, a path within the volume."""
    JOB_UNSCHEDULABLE = "JobUnschedulable"
    """The Job's pod finds no node, or its volume cannot be attached there; the message is passed on."""
    JOB_FAILED = "JobFailed"
    """The Job failed; its last words are passed on. The gateway is on its files as before. Its log has the rest."""
    JOB_IMAGE_PULL_FAILED = "JobImagePullFailed"
    """The node cannot get the operator's own image for the Job. Correct the chart's image values."""
    FENCE_TIMEOUT = "FenceTimeout"
    """migration.fenceTimeout passed; the gateway is on its files as before. Raise it for large volumes."""
    FENCE_BROKEN = "FenceBroken"
    """Pods came back to the source three times during the copy. Find what scales the workload, and stop it."""
    VERIFICATION_FAILED = "VerificationFailed"
    """The store does not hold what the source holds. The gateway is on its files as before. Read the report."""
    SOURCE_WOULD_BE_DELETED = "SourceWouldBeDeleted"
    """Scaling the StatefulSet to 0 would delete the source. Set its whenScaled retention to Retain."""
    SOURCE_IN_USE = "SourceInUse"
    """A pod of no gateway mounts the source. Add its workload to spec.gateways, or stop it."""
    SOURCE_UNATTACHABLE = "SourceUnattachable"
    """The volume cannot be attached where the Job may run; the attach message is passed on."""

    # Shared
    NOT_PROBED = "NotProbed"
    """Nobody has tried yet whether a session written through one pod is read through another."""

    # Degraded
    AS_EXPECTED = "AsExpected"
    """Nothing is degraded."""
    GATEWAY_ON_FILES = "GatewayOnFiles"
    """Pods of a gateway that was migrated write to files. They are replaced, and what they wrote is copied after."""

    # ConfigurationWarning
    NO_WARNINGS = "NoWarnings"
    """Nothing in the spec needs a second look."""
    NOT_CARRIED_OUT = "NotCarriedOut"
    """The spec asks for what this version does not do. The rest holds. Remove it, or wait for a version that does."""
    HISTORY_LEFT_BEHIND = "HistoryLeftBehind"
    """A gateway has state on a volume that no source names. Name it in migration.sources, or leave it on purpose."""
    SHARED_KEYSPACE = "SharedKeyspace"
    """Two gateways see one keyspace. Right for replicas of one service; else give each its own keyspace."""

    # Any condition
    SUSPENDED = "Suspended"
    """spec.suspend is true: observed and reported, nothing is changed. Set it to false to go on."""
    FORBIDDEN = "Forbidden"
    """The operator lacks a permission, which the message names. Grant it, or reinstall the chart's roles."""
    API_UNAVAILABLE = "ApiUnavailable"
    """The API server cannot serve us now. What runs goes on running. It is tried again by itself."""
    INTERNAL_ERROR = "InternalError"
    """A fault of the operator. It is tried again by itself; report it with the operator's log."""
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    """Something that comes before this is not ready, so nobody has looked. See the other conditions."""
