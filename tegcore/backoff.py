"""When to try again what failed: exponential back-off with jitter, which begins anew only once a thing has lasted."""

from tegcore import rng


class Backoff:
    """Pauses between tries: each doubles the one before, up to a bound, and half of it is drawn.

    A try that held for a while counts as good, one that ended sooner as failed, however well it began: a handshake is
    no success.

    Args:
        least: Of the first pause; this and all times below in one unit, whichever it is.
        most: Bound of every pause.
        steady: What lasted so long has not failed.
        seed: Of whoever tries, so that many that failed together do not come back together.

    Attributes:
        failures: One after the other, until something lasted.
    """

    def __init__(self, least: float, most: float, steady: float, seed: int) -> None:
        self._least, self._most, self._steady = least, most, steady
        self._seed = seed
        self._tries = 0
        self.failures = 0

    def pause(self, lasted: float = 0.0) -> float:
        """How long to wait now.

        Args:
            lasted: How long what was tried has held; 0: it did not begin.
        """
        if lasted >= self._steady:
            self.failures = 0
        whole = min(self._most, self._least * 2.0 ** min(self.failures, 32))
        self.failures += 1
        self._tries += 1
        return whole / 2 * (1 + float(rng.uniform(self._seed, "back-off", self._tries, [0])[0]))
