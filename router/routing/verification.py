"""From how far vectors agree to whether their target may serve its space."""

from dataclasses import dataclass

from router.routing.targets import Standing
from router.vectors.agreement import Agreement

# A target that was found wrong once has to be right this often in a row.
_PASSES_AFTER_QUARANTINE = 2


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a target may be from its space's reference.

    Two engines with the same weights differ by about 2.5e-3 in published scores, 8-bit weights by
    up to 5e-3 in cosine; a missing instruction costs a tenth, another model everything.
    """

    least_cosine: float = 0.99
    least_rank_agreement: float = 0.9
    most_norm_error: float = 2e-2

    def fault(self, found: Agreement) -> str | None:
        """What is beyond tolerance, in words, or None."""
        if found.least_cosine < self.least_cosine:
            return f"cosine {found.least_cosine:.4f} is under {self.least_cosine:g}"
        if found.rank_agreement < self.least_rank_agreement:
            return f"rank agreement {found.rank_agreement:.3f} is under {self.least_rank_agreement}"
        if found.norm_error > self.most_norm_error:
            return f"norms are off by {found.norm_error:.3g}, over {self.most_norm_error:g}"
        return None


@dataclass(slots=True)
class Record:
    """What is known of one target's agreement; it says what the standing should be."""

    passes: int = 0
    standing: Standing = Standing.UNVERIFIED
    last: Agreement | None = None
    fault: str | None = None
    # When the next comparison is due, on the event loop's clock.
    due_s: float = 0.0
    # Whether vectors of the golden texts were seen; one that is trusted has a standing before that.
    measured: bool = False

    def judge(self, standing: Standing, found: Agreement, tolerance: Tolerance) -> Standing:
        """The standing after a comparison; `standing` is the one before it."""
        self.last, self.fault, self.measured = found, tolerance.fault(found), True
        if standing is Standing.QUARANTINED and self.standing is not Standing.QUARANTINED:
            # A canary put it out meanwhile: what it passed before that counts for nothing.
            self.passes = 0
        self.passes = 0 if self.fault is not None else self.passes + 1
        needed = _PASSES_AFTER_QUARANTINE if standing is Standing.QUARANTINED else 1
        if self.fault is not None:
            self.standing = Standing.QUARANTINED
        else:
            self.standing = Standing.VERIFIED if self.passes >= needed else standing
        return self.standing
