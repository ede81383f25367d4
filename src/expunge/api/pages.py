"""What each problem means: its status, its title, and what to do. ``docs/problems.md`` is this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Page:
    """A problem, explained.

    Attributes:
        status: Of the HTTP response.
        title: The same each time.
        text: What happened, and what to do, as Markdown.
    """

    status: int
    title: str
    text: str


PAGES: Final[dict[str, Page]] = {
    # What was sent.
    "request-invalid": Page(
        422,
        "The request is not as the API describes it",
        "A field, parameter or header is missing, unknown, of the wrong type or out of bounds. "
        "`errors` points at each; what was sent is never repeated. Nothing was changed.",
    ),
    "body-malformed": Page(
        400,
        "The body cannot be read",
        "It is not the JSON (or the UTF-8 text) that its Content-Type says. Nothing was changed.",
    ),
    "body-incomplete": Page(
        408,
        "The body took too long",
        "The server waits some seconds for the next part of a body, and some minutes for all of "
        "it. Nothing was changed: send it again.",
    ),
    "body-too-large": Page(
        413,
        "The body is too large",
        "It is longer, or names more, than this server takes in one request. Nothing was changed: "
        "send it in parts, or lists of ids to `POST /unlearn/bulk`.",
    ),
    "head-too-large": Page(
        431,
        "The head of the request is too large",
        "Its line and headers are longer than this server takes. Lists belong into a body, not "
        "into the query.",
    ),
    "media-type-unsupported": Page(
        415,
        "The body is of another type than this route takes",
        "Routes take `application/json`; `POST /unlearn/bulk` takes `text/csv`. Encodings such as "
        "gzip are not taken.",
    ),
    "input-invalid": Page(
        422, "The request cannot be used", "`detail` says why. Nothing was changed."
    ),
    "nothing-to-forget": Page(
        422, "The request names nobody", "Name at least one sample or subject."
    ),
    "method-unavailable": Page(
        422,
        "A model cannot forget that way",
        "A model that the request covers cannot be treated with the method that it names, or "
        "would become less exact by it. `possible` lists what all of them can. Nothing was "
        "accepted: name another method, or narrow the request by `models`.",
    ),
    "cell-invalid": Page(
        422,
        "A cell cannot be used",
        "A cell is missing, of another type than its column, or not declared. `row` and `column` "
        "say where; what stands there is never repeated.",
    ),
    "column-unknown": Page(
        422, "A column is not there", "Rows have exactly the columns that the model learnt from."
    ),
    "idempotency-key-invalid": Page(
        400,
        "The Idempotency-Key cannot be read",
        'It is one string in quotes (`Idempotency-Key: "8e03978e-40d5"`) or one bare word, of 1 to '
        "255 visible ASCII characters. Nothing was changed.",
    ),
    "idempotency-in-flight": Page(
        409,
        "A request with this Idempotency-Key is being accepted",
        "Ask again after `Retry-After`: then the answer is the first one's. A server that died "
        "while it accepted the request is waited for half a minute.",
    ),
    "idempotency-reused": Page(
        422,
        "The Idempotency-Key was used for another request",
        "Keys are remembered for a day, for each API key apart. Use a new one for each request, "
        "such as a random UUID.",
    ),
    # Who asks.
    "credentials-invalid": Page(
        401,
        "No API key that works",
        "Send a key as `Authorization: Bearer exp_…`. It may be missing, malformed, unknown, "
        "expired, revoked, or another home's: which one is not told. A key that is revoked works "
        "for up to two seconds more.",
    ),
    "scope-missing": Page(
        403,
        "The API key does not reach that far",
        "`detail` names the scope that is missing. Use a key that has it.",
    ),
    "second-person-needed": Page(
        403,
        "Nobody approves their own request",
        "This deployment demands a second person: another API key than the one that submitted it.",
    ),
    "too-many-requests": Page(
        429,
        "Too many requests",
        "This API key, or this address with keys that do not work, asked too often. Ask again "
        "after `Retry-After`. `POST /unlearn/bulk` takes many ids at once.",
    ),
    # What is not there.
    "not-found": Page(404, "There is nothing here", "The path is not one of this server's."),
    "method-not-allowed": Page(
        405, "This cannot be done here", "`Allow` lists the methods that this path knows."
    ),
    "unknown-name": Page(
        404,
        "No such thing",
        "There is no request, model, dataset, hold or certificate of that name here.",
    ),
    "request-unknown-here": Page(
        404,
        "A request about a dataset that is not here",
        "The home was restored from a backup that lacks the dataset. Nothing is left of its rows.",
    ),
    "samples-unknown": Page(
        404,
        "Samples or subjects that are not there",
        "Something that the request names is not in the dataset; which of it is not told, and "
        "samples of other datasets are as unknown as those of none. Nothing was changed. Check the "
        'ids, or send `"missing": "ignore"` where they may be gone already. Where the server runs '
        "with `EXPUNGE_REVEAL_UNKNOWN=false`, this answer is never given: known and unknown "
        "samples are answered alike.",
    ),
    # What cannot be done now.
    "request-move-refused": Page(
        409,
        "The request is not in a state that allows this",
        "`GET /requests/{request}` says where it stands. A request that is done, refused, "
        "cancelled or undone stays so.",
    ),
    "undo-refused": Page(
        409,
        "It cannot be taken back",
        "It has no undo window, or that is over; or it is no restriction; or its ids came in again.",
    ),
    "audit-not-done": Page(
        409,
        "The audit has no report",
        "A worker makes it: ask again when its state is `done`. Of one that failed, `error` says why.",
    ),
    "certificate-not-ready": Page(
        409,
        "The request is not done",
        "Its certificate exists once models are rebuilt and rows are destroyed; ask again then.",
    ),
    "certificate-refused": Page(
        409,
        "The request made nothing be forgotten",
        "It was cancelled, refused or undone: there is no certificate of unlearning.",
    ),
    "model-withdrawn": Page(
        503,
        "The model is withdrawn",
        "No part of it is clean of what was forgotten, so that it does not answer until it is "
        "rebuilt. Ask again after `Retry-After`.",
    ),
    "model-retired": Page(
        410, "The model is retired", "It was taken out of service for good. Use another one."
    ),
    "name-taken": Page(409, "The name is taken", "Another thing has that name. Choose another."),
    # What the server cannot do.
    "outcome-unknown": Page(
        503,
        "It is not known yet whether this was accepted",
        "It took too long, or the database broke off. Send it again with the same "
        "Idempotency-Key: it is accepted once. Without one it may be a second request, which does "
        "no harm.",
    ),
    "journal-unwritten": Page(
        503,
        "In effect, but not in the journal",
        "The request or decision stands, but the journal of requests could not be written (a full "
        "disk). Tell the operator. Do not send it again, or only under the same "
        "`Idempotency-Key`: then it is answered once the journal has it.",
    ),
    "server-busy": Page(
        503, "Too many requests wait", "It was not begun. Ask again after `Retry-After`."
    ),
    "server-stopping": Page(
        503, "The server is stopping", "It was not begun. Ask again, or ask another server."
    ),
    "timed-out": Page(
        503,
        "It took too long",
        "Nothing was changed by it. Ask again after `Retry-After`, or for less.",
    ),
    "database-unavailable": Page(
        503, "The database does not answer", "Ask again after `Retry-After`. Operators are told."
    ),
    "storage-unavailable": Page(
        503,
        "The disk does not take or give what is needed",
        "It may be full. Ask again after `Retry-After`. Operators are told.",
    ),
    "lease-held": Page(
        503, "Another process is at it", "Ask again after `Retry-After`; it takes seconds."
    ),
    "worker-failed": Page(503, "A worker failed", "Ask again after `Retry-After`."),
    "data-corrupt": Page(
        500,
        "Stored bytes are damaged",
        "Operators are told: `expunge recover` builds a damaged checkpoint again; other files come "
        "from a backup.",
    ),
    "ledger-error": Page(
        500, "The ledger is not as it should be", "Operators are told: `expunge ledger fsck`."
    ),
    "internal": Page(
        500,
        "An error of ours",
        "Something failed that should not. `instance` is what its log line is found by; neither "
        "tells what was sent.",
    ),
}
