"""Every error, one tree. Messages say what happened, what was expected, what to do.

Messages carry counts, never an identity or a cell's content; ids are attributes.

ExpungeError
├── InputError                  what was given cannot be used; nothing was changed
│   ├── ColumnUnknown
│   ├── CellInvalid             a cell that is missing, mixed or out of what is declared
│   ├── DuplicateSamples
│   ├── SourceEmpty
│   ├── SchemaMismatch
│   ├── ViewInvalid
│   ├── RecipeInvalid
│   ├── NothingToForget
│   ├── MethodUnavailable       a model cannot forget that way
│   ├── SecondPersonNeeded      who sent a request cannot approve it
│   ├── SamplesUnknown
│   ├── SamplesForgotten        a forgotten id came back without ``readmit``
│   ├── PrecisionTooLow         parameters are too coarse for second derivatives
│   ├── MemoryCapTooSmall       one sample, or a solver's matrix, takes more than the cap
│   └── ModuleUnsuitable        a network has not got what a post-hoc method works on
├── UnknownName                 no such dataset, model, learner or method
│   └── RequestUnknownHere      a request whose dataset a restored backup lacks
├── NameTaken
├── RequestMoveRefused          a request is not in a state from which it may move so
├── GateClosed                  a rebuilt model would answer worse than its owner allows
├── UndoRefused                 what a request did cannot be taken back any more
├── ModelRetired                a model was taken out of service for good
├── ModelWithdrawn              no clean constituent is left to answer
├── CorrectionFailed            an influence correction was not made; the model is as it was
│   ├── CurvatureIndefinite     the objective curves downwards somewhere
│   ├── SolverStopped           a solver diverged, or did not get there
│   └── CorrectionRejected      the step raises the loss of the samples that stay
├── UnlearningDiverged          a post-hoc method came to NaN; the network is as it was
├── ForgettingNotAchieved       no method kept the constraints in the time that it had
├── StateNotCanonical           a learner's state has no canonical bytes
├── PlanStale                   rows changed under a plan; make a new one
├── DataCorrupt                 stored bytes do not match their digest
├── FormatUnsupported           written by another version of Expunge
├── LibraryMissing              an optional library is not installed
├── HomeMismatch                a database and a folder that do not belong together
├── WorkerFailed                a worker process died or raised
├── ClaimLost                   another worker has the unit now
├── JournalUnwritten            requests stand, but not in the journal yet
├── BrokerUnreachable           the queue did not take what was published
├── AuditNotDone                its report was asked for before its end, or there is none
├── CertificateNotReady         its request is not done
├── CertificateRefused          nothing was forgotten by its request in the end
├── GuaranteeUnproved           a proof of the guarantee that was asked for has a gap
├── KeyInvalid                  a signing key cannot be used
├── EntryTooLarge               a fact does not fit into an entry of the ledger
├── ServiceError                a server says no; what it was asked for is not wrong in itself
│   ├── CredentialsInvalid      no API key, or one that does not work
│   ├── ScopeMissing            an API key does not reach that far
│   ├── ServerBusy              too many wait
│   ├── ServerStopping
│   ├── OutcomeUnknown          a request may have been accepted, or not
│   ├── IdempotencyInFlight
│   └── IdempotencyReused       one idempotency key for two requests
└── LedgerError                 the ledger says no
    ├── NoteInvalid             a signed note is malformed, or its signature is wrong
    ├── ProofInvalid            a proof does not show what it should
    ├── CertificateInvalid      a certificate is malformed, or was changed
    ├── LedgerForked            two histories under one key
    ├── LeaseHeld               another process moves facts into the tree
    └── WitnessRefused          a witness did not cosign
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


class ExpungeError(Exception):
    """Base of all errors that Expunge raises on purpose."""

    code = "expunge-error"


class InputError(ExpungeError, ValueError):
    """What was given cannot be used. Nothing was changed."""

    code = "input-invalid"


class ColumnUnknown(InputError):
    """A column was named that is not there."""

    code = "column-unknown"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, sorted(known)
        super().__init__(
            f"No column {name!r}. There are: {', '.join(map(repr, self.known)) or 'none'}."
        )


class CellInvalid(InputError):
    """A cell is missing, of another type than its column, or not declared."""

    code = "cell-invalid"

    def __init__(self, row: int, column: str, problem: str, advice: str) -> None:
        self.row, self.column, self.problem = row, column, problem
        super().__init__(f"Row {row:,}, column {column!r}: {problem}. {advice}")


class DuplicateSamples(InputError):
    """A sample id stands in more than one row."""

    code = "duplicate-samples"

    def __init__(self, rows: Collection[int], in_dataset: bool) -> None:
        self.rows, self.in_dataset = sorted(rows), in_dataset
        where = "the dataset already holds" if in_dataset else "an earlier row of this source has"
        shown = ", ".join(f"{row:,}" for row in self.rows[:5])
        super().__init__(
            f"{len(self.rows):,} sample ids are not unique: {where} them (rows {shown}"
            f"{' …' if len(self.rows) > 5 else ''}; all in `.rows`). Give each row an id of "
            f"its own, or use `correct` to replace rows."
        )


class SourceEmpty(InputError):
    """A source has no rows."""

    code = "source-empty"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} has no rows. Expected at least one row below the header.")


class SchemaMismatch(InputError):
    """Columns do not fit the declared schema."""

    code = "schema-mismatch"


class ViewInvalid(InputError):
    """A view asks for what the schema does not offer."""

    code = "view-invalid"


class RecipeInvalid(InputError):
    """A recipe's fields do not fit together."""

    code = "recipe-invalid"


class NothingToForget(InputError):
    """A request names no samples."""

    code = "nothing-to-forget"

    def __init__(self) -> None:
        super().__init__("The request names no samples and no subjects. Name at least one.")


class MethodUnavailable(InputError):
    """A request names a method that a model which it covers cannot be treated with."""

    code = "method-unavailable"

    def __init__(self, method: str, possible: Collection[str]) -> None:
        self.method, self.possible = method, sorted(possible)
        super().__init__(
            f"Not every model that is meant forgets by {method!r}; nothing was accepted. All of "
            f"them can by {', '.join(map(repr, self.possible))}. Name one of these, or narrow the "
            f"request by `models`."
        )


class SecondPersonNeeded(InputError):
    """A request was to be approved by nobody, or by who sent it."""

    code = "second-person-needed"

    def __init__(self, request: str) -> None:
        self.request = request
        super().__init__(
            f"Request {request} waits for a second person's approval: name an `approver` who is "
            f"not the one that sent it."
        )


class SamplesUnknown(InputError):
    """A request names samples or subjects that the dataset never held."""

    code = "samples-unknown"

    def __init__(self, ids: Iterable[str], what: str = "sample ids") -> None:
        self.ids = sorted(ids)
        super().__init__(
            f"{len(self.ids):,} of the {what} are not in the dataset (they are in `.ids`). "
            f"Check them, or pass `missing='ignore'` if they may be gone already."
        )


class SamplesForgotten(InputError):
    """Ids that were forgotten stand in new rows."""

    code = "samples-forgotten"

    def __init__(self, rows: Collection[int]) -> None:
        self.rows = sorted(rows)
        super().__init__(
            f"{len(self.rows):,} rows carry ids that were forgotten (row numbers in `.rows`). "
            f"Leave them out, or pass `readmit=True` if they may come back."
        )


class PrecisionTooLow(InputError):
    """Parameters are too coarse for second derivatives."""

    code = "precision-too-low"

    def __init__(self, found: Collection[str]) -> None:
        self.found = list(found)
        super().__init__(
            f"The parameters are {' and '.join(self.found)}. Curvature needs all of them in float32 "
            f"or all in float64: convert a copy of the module with `.float()` or `.double()`."
        )


class MemoryCapTooSmall(InputError):
    """One sample, or a solver's matrix, takes more than the cap."""

    code = "memory-cap-too-small"

    def __init__(self, needed: int, cap: int) -> None:
        self.needed, self.cap = needed, cap
        super().__init__(
            f"Up to {needed:,} bytes are needed and the cap is {cap:,}. Raise `memory_bytes`, or "
            f"take a solver that holds no matrix (`Conjugate`)."
        )


class ModuleUnsuitable(InputError):
    """A network has not got what a post-hoc method works on."""

    code = "module-unsuitable"

    def __init__(self, method: str, problem: str, advice: str) -> None:
        self.method, self.problem = method, problem
        super().__init__(f"The method {method!r} cannot work on this module: {problem}. {advice}")


class UnknownName(ExpungeError, LookupError):
    """Nothing of that kind has that name."""

    code = "unknown-name"

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(
            f"No {kind} {name!r}. There are: {', '.join(map(repr, self.known)) or 'none'}."
        )


class RequestUnknownHere(UnknownName):
    """A request that only the journal knows: a restored backup lacks its dataset."""

    code = "request-unknown-here"

    def __init__(self, request: str) -> None:
        super().__init__("request", request, [])
        self.request = request
        self.args = (
            f"Request {request} was accepted, and is about a dataset that is not here: it came "
            f"after the backup from which this home was restored. Of its rows nothing is left, so "
            f"there is nothing to do and nothing to certify. If you ingest the dataset again, "
            f"leave out who asked to be forgotten.",
        )


class NameTaken(ExpungeError):
    """A dataset or model of that name exists and is another one."""

    code = "name-taken"

    def __init__(self, kind: str, name: str, advice: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"There is a {kind} {name!r} already. {advice}")


class RequestMoveRefused(ExpungeError):
    """A request is in a state from which it may not move so."""

    code = "request-move-refused"

    def __init__(self, request: str, start: str, to: str) -> None:
        self.request, self.start, self.to = request, str(start), str(to)
        super().__init__(
            f"Request {request} is {self.start}: from there it cannot become {self.to}. Look at "
            f"it again; somebody may have decided about it meanwhile."
        )


class UndoRefused(ExpungeError):
    """What a request did cannot be taken back: too late, a correction, or ids that came again."""

    code = "undo-refused"

    def __init__(self, request: str, why: str) -> None:
        self.request = request
        super().__init__(f"Request {request} cannot be undone: {why}")


class GateClosed(ExpungeError):
    """What was rebuilt is not published: the model would answer worse than its owner allows."""

    code = "gate-closed"

    def __init__(self, model: str, metric: str, score: float, floor: float) -> None:
        self.model, self.metric, self.score, self.floor = model, metric, score, floor
        super().__init__(
            f"Model {model!r} would have an {metric} of {score:.4g} with what was rebuilt; its gate "
            f"asks for {floor:.4g}. It goes on answering without that, clean. Lower the floor with "
            f"`home.gate`, or add rows, and retry."
        )


class ModelRetired(ExpungeError):
    """A model was taken out of service for good."""

    code = "model-retired"

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"Model {model!r} was retired: its checkpoints are destroyed and it never answers "
            f"again. Train another one under another name."
        )


class ModelWithdrawn(ExpungeError):
    """No clean constituent is left: the model cannot answer until it is rebuilt."""

    code = "model-withdrawn"

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"Model {model!r} is withdrawn: no constituent of it is clean. Rebuild it with "
            f"`receipt.wait()` or `home.recover()`; if all its samples were forgotten, "
            f"ingest others first."
        )


class CorrectionFailed(ExpungeError):
    """An influence correction was not made. The parameters are what they were."""

    code = "correction-failed"


class CurvatureIndefinite(CorrectionFailed):
    """The objective curves downwards in some direction, so no step is its minimum."""

    code = "curvature-indefinite"

    def __init__(self, least: float | None, damping: float) -> None:
        self.least, self.damping = least, damping
        seen = "" if least is None else f" (a curvature of {least:.3g} was seen)"
        super().__init__(
            f"The curvature is not positive definite at damping {damping:.3g}{seen}. Raise "
            f"`damping` or the penalty, use the Gauss-Newton matrix and a loss that is convex in "
            f"the outputs, or rebuild the model."
        )


class SolverStopped(CorrectionFailed):
    """A solver diverged, or did not get close enough in the steps that it had."""

    code = "solver-stopped"

    def __init__(self, solver: str, why: str, iterations: int, residual: float) -> None:
        self.solver, self.why = solver, why
        self.iterations, self.residual = iterations, residual
        super().__init__(
            f"{solver} {why} after {iterations:,} iterations (relative residual {residual:.3g}). "
            f"Raise `damping` or `iterations`, or take another solver."
        )


class CorrectionRejected(CorrectionFailed):
    """A step raises the loss of the samples that stay, so it was not taken."""

    code = "correction-rejected"

    def __init__(self, before: float, after: float, step_norm: float) -> None:
        self.before, self.after, self.step_norm = before, after, step_norm
        super().__init__(
            f"The step (length {step_norm:.3g}) would raise the objective of the samples that stay "
            f"from {before:.6g} to {after:.6g}. Take the step `refit` if training stopped short of "
            f"a minimum, raise `damping`, let fewer samples leave at once, or rebuild the model."
        )


class UnlearningDiverged(ExpungeError):
    """A post-hoc method came to values that are not finite. The network given is as it was."""

    code = "unlearning-diverged"

    def __init__(self, method: str, what: str, steps: int) -> None:
        self.method, self.steps = method, steps
        super().__init__(
            f"The method {method!r} diverged: {what} not finite after {steps:,} steps. The network "
            f"that was given is as it was. Lower `lr`, set `clip` or `ceiling` where the method has "
            f"them, or take fewer epochs."
        )


class ForgettingNotAchieved(ExpungeError):
    """No method kept the constraints, so there is no network to hand over."""

    code = "forgetting-not-achieved"

    def __init__(self, why: str, tries: int) -> None:
        self.why, self.tries = why, tries
        super().__init__(
            f"Forgetting was not achieved in {tries:,} tries (each with its figures in `.tried` of "
            f"the outcome): {why} Give it more time, loosen the constraints, or train again "
            f"without the samples."
        )


class StateNotCanonical(ExpungeError):
    """A learner's state holds something that has no canonical bytes."""

    code = "state-not-canonical"

    def __init__(self, attribute: str, found: str) -> None:
        self.attribute, self.found = attribute, found
        super().__init__(
            f"`{attribute}` is a {found}, which has no canonical bytes. A state may hold "
            f"numbers, strings, arrays, sparse matrices, trees and estimators made of them. "
            f"Leave that part out of the pipeline, or write a learner for it."
        )


class PlanStale(ExpungeError):
    """The rows that a plan names are not there any more."""

    code = "plan-stale"

    def __init__(self) -> None:
        super().__init__("Rows changed after this plan was made. Make a new plan.")


class DataCorrupt(ExpungeError):
    """Stored bytes are not what their digest promises."""

    code = "data-corrupt"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} does not match its digest. Restore it from a backup; a damaged "
            f"checkpoint is built again by `home.repair()` or `expunge recover`."
        )


class FormatUnsupported(ExpungeError):
    """A file or database was written in a format that this version does not know."""

    code = "format-unsupported"

    def __init__(self, what: str, found: object, known: object) -> None:
        is_older = isinstance(found, int) and isinstance(known, int) and found < known
        advice = (
            "It was made by a development version before 0.1: make it again."
            if is_older
            else "Upgrade Expunge."
        )
        super().__init__(f"{what} has format {found}; this version reads {known}. {advice}")


class LibraryMissing(ExpungeError, ImportError):
    """An optional library is not installed."""

    code = "library-missing"

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{what} needs libraries that are not installed. Try: pip install 'expunge[{extra}]'."
        )


class HomeMismatch(ExpungeError):
    """A database and a folder of files do not belong together."""

    code = "home-mismatch"

    def __init__(self) -> None:
        super().__init__(
            "This database belongs to another folder of files. Open the home with the database "
            "and the folder that it was made with, or name an empty folder."
        )


class ClaimLost(ExpungeError):
    """A unit is another worker's now, or was done by another. Nothing was changed."""

    code = "claim-lost"

    def __init__(self) -> None:
        super().__init__(
            "The claim on a unit ran out, and another worker took it or made it whole. Nothing "
            "was changed; what is left to do is done by that worker."
        )


class WorkerFailed(ExpungeError):
    """A worker process died or raised; what it had finished is kept.

    Attributes:
        kind: Name of the class of what it raised; empty where it died.
    """

    code = "worker-failed"

    def __init__(self, what: str, kind: str = "") -> None:
        self.kind = kind
        super().__init__(f"A worker failed: {what}. Run the command again to resume.")


class JournalUnwritten(ExpungeError):
    """Requests are in effect, and the journal could not be written."""

    code = "journal-unwritten"

    def __init__(self, requests: Collection[str]) -> None:
        self.requests = list(requests)
        shown = ", ".join(self.requests[:5]) + (" …" if len(self.requests) > 5 else "")
        super().__init__(
            f"{len(self.requests):,} requests stand, but the journal of requests could not be "
            f"written: a backup that is restored now would lack them. Do not send them again. Mend "
            f"the cause (its disk may be full); the next opening or `recover` of this home appends "
            f"them ({shown}; all in `.requests`)."
        )


class BrokerUnreachable(ExpungeError):
    """The message broker did not take, or did not answer, what it was sent. Nothing is lost."""

    code = "broker-unreachable"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The message broker cannot be used: {what}. Nothing is lost: what is to do stands in "
            f"the database, and workers look there every few seconds. See that the broker runs."
        )


class AuditNotDone(ExpungeError):
    """The page of an audit was asked for that has no report, yet or at all."""

    code = "audit-not-done"

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(
            f"The audit is {state}, so it has no report. One that is open or running has one when a "
            f"worker has made it; of one that failed, `error` says why."
        )


class CertificateNotReady(ExpungeError):
    """A certificate was asked for before its request is done."""

    code = "certificate-not-ready"

    def __init__(self, request: str) -> None:
        self.request = request
        super().__init__(
            "The request is not done: a model is still rebuilt without the samples, or rows are "
            "not destroyed yet. Finish it with `receipt.wait()` or `home.recover()`."
        )


class CertificateRefused(ExpungeError):
    """A certificate was asked for of a request that made nothing be forgotten in the end."""

    code = "certificate-refused"

    def __init__(self, request: str, state: str) -> None:
        self.request, self.state = request, state
        super().__init__(
            f"The request was {state}: what it named is not forgotten by it, so there is no "
            f"certificate of unlearning. Its story stands in the ledger "
            f"(`expunge ledger show --request {request}`)."
        )


class GuaranteeUnproved(ExpungeError):
    """A guarantee was asked for that cannot be proved here. Nothing was released.

    Attributes:
        instead: The next best guarantee, in words.
    """

    code = "guarantee-unproved"

    def __init__(self, why: str, instead: str) -> None:
        self.instead = instead
        super().__init__(
            f"The guarantee that was asked for cannot be proved: {why}. Nothing was released. "
            f"Next best: {instead}."
        )


class KeyInvalid(ExpungeError):
    """A signing key cannot be read, or is of another kind. Shows no key material."""

    code = "key-invalid"


class EntryTooLarge(ExpungeError):
    """A fact does not fit into an entry of the ledger."""

    code = "entry-too-large"

    def __init__(self, kind: str, size: int, limit: int) -> None:
        self.kind, self.size, self.limit = kind, size, limit
        super().__init__(
            f"A {kind!r} entry would take {size:,} bytes; the ledger's format allows {limit:,}."
        )


class ServiceError(ExpungeError):
    """A server says no."""

    code = "service-error"


class CredentialsInvalid(ServiceError):
    """No API key was given, or one that does not work. Which of these is not told."""

    code = "credentials-invalid"

    def __init__(self) -> None:
        super().__init__(
            "No API key that works was given. Send one as `Authorization: Bearer exp_…`; "
            "`expunge keys create` makes one."
        )


class ScopeMissing(ServiceError):
    """An API key does not reach that far."""

    code = "scope-missing"

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"This API key lacks the scope {scope!r}. Use one that has it.")


class ServerBusy(ServiceError):
    """Too many wait."""

    code = "server-busy"

    def __init__(self) -> None:
        super().__init__("Too many requests wait already; this one was not begun. Send it again.")


class ServerStopping(ServiceError):
    """The server ends what it has begun, and begins nothing."""

    code = "server-stopping"

    def __init__(self) -> None:
        super().__init__("The server is stopping; this was not begun. Send it to another one.")


class OutcomeUnknown(ServiceError):
    """It took too long, or broke off: a request may have been accepted, or not."""

    code = "outcome-unknown"

    def __init__(self) -> None:
        super().__init__(
            "It is not known yet whether this was accepted. Send it again with the same "
            "Idempotency-Key: it is accepted once. Without a key that may make a second request, "
            "which does no harm: what is forgotten already stays so."
        )


class IdempotencyInFlight(ServiceError):
    """A request with that idempotency key is being accepted."""

    code = "idempotency-in-flight"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__("A request with this Idempotency-Key is being accepted. Ask again later.")


class IdempotencyReused(ServiceError):
    """An idempotency key was used for another request before."""

    code = "idempotency-reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for another request before. Use a new one for each "
            "request, such as a random UUID."
        )


class LedgerError(ExpungeError):
    """The ledger, or something that it should prove, is not as it should be."""

    code = "ledger-error"


class NoteInvalid(LedgerError):
    """A signed note is malformed, or a signature by a known key is wrong."""

    code = "note-invalid"


class ProofInvalid(LedgerError):
    """A proof does not show what it should."""

    code = "proof-invalid"


class CertificateInvalid(LedgerError):
    """A certificate is malformed, or was changed after it was issued."""

    code = "certificate-invalid"


class LedgerForked(LedgerError):
    """Two histories of one log do not fit together."""

    code = "ledger-forked"


class LeaseHeld(LedgerError):
    """Another process moves facts into the tree at the moment."""

    code = "lease-held"


class WitnessRefused(LedgerError):
    """A witness did not cosign the log."""

    code = "witness-refused"
