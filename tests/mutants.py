"""The instrument's own mutation test: planted faults in the measurements, each of which must turn some test red.

`make mutants` runs it: every fault is put into a copy of the project, alone, and the tests named beside it are run until
one fails. It prints what was caught and what survived, and exits with 1 if anything did.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parent.parent
COPIED = (
    "docs",
    "examples",
    "models",
    "circuits",
    "claims",
    "figures",
    "studies",
    "verdicts",
    "tests",
    "checkpoints",
    "circuit_claims.py",
    "conftest.py",
    "pyproject.toml",
    "README.md",
)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A fault: one string of a file replaced by another."""

    fault: str
    file: str
    old: str
    new: str
    tests: str
    """Names of test files, without their room, `test_` and `.py`."""

    def source(self, root: Path) -> str:
        """The faulty file; `ValueError` unless the string stands there once."""
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.fault}: {self.file} holds {self.old!r} {text.count(self.old)} times; it must hold it once"
            )
        return text.replace(self.old, self.new)


T, A, Q, D = (
    "models/transformer.py",
    "circuits/attention.py",
    "circuits/queries.py",
    "circuits/directions.py",
)
B, P, C, R = (
    "circuits/bounds.py",
    "circuits/patching.py",
    "circuits/composition.py",
    "circuits/residual.py",
)
S, L, N, X = (
    "circuits/statistics.py",
    "circuits/attribution.py",
    "circuits/ablation.py",
    "circuits/coalitions.py",
)
MUTANTS = (
    Mutant("W_O transposed by heads", T, "self.W_O.flatten(0, 1)", "self.W_O.transpose(0, 1).reshape(-1, self.W_O.shape[-1])", "transformer"),
    Mutant("1/√d_head missing from the scores", "models/kernels.py", "alpha=1 / scale", "alpha=1", "kernels"),
    Mutant("softmax over queries", T, "softmax(self.hook_attn_scores(head_scores(q, k)))", "softmax(self.hook_attn_scores(head_scores(q, k)).mT).mT", "transformer"),
    Mutant("b_O dropped where results are kept", T, ".sum(dim=2) + self.b_O", ".sum(dim=2)", "transformer"),
    Mutant("pattern transposed in z", "models/kernels.py", "torch.bmm(pattern.flatten(0, 1)", "torch.bmm(pattern.mT.flatten(0, 1)", "kernels"),
    Mutant("tanh GELU for the exact one", T, "F.gelu(pre)", "F.gelu(pre, approximate=\"tanh\")", "transformer"),
    Mutant("sum over vertices for the mean", T, "resid.mean(dim=1)", "resid.sum(dim=1)", "transformer"),
    Mutant("stop one layer late", T, "self.blocks[:stop_at_layer]", "self.blocks[: None if stop_at_layer is None else stop_at_layer + 1]", "transformer"),
    Mutant("b_Q dropped from a head's scores", A, "torch.cat([attention.b_Q[head.index],", "torch.cat([torch.zeros_like(attention.b_Q[head.index]),", "measurements"),
    Mutant("query and key exchanged", A, "parts.append(q @ k.mT / math.sqrt(model.cfg.d_head))", "parts.append(k @ q.mT / math.sqrt(model.cfg.d_head))", "measurements"),
    Mutant("1/√d_head missing from a head's scores", A, "parts.append(q @ k.mT / math.sqrt(model.cfg.d_head))", "parts.append(q @ k.mT)", "measurements"),
    Mutant("keys of the next layer", A, "map(model.entering(head.layer), adj", "map(model.entering(head.layer + 1), adj", "residual"),
    Mutant("entropy in bits over ln n", A, "torch.special.entr(pattern).sum(-1) / math.log(", "torch.special.entr(pattern).sum(-1) / math.log2(", "measurements"),
    Mutant("log-odds with the position among the others", A, "    others[..., position] = -torch.inf\n", "", "measurements"),
    Mutant("the new edge missing from the neighbour's key", A, "        after.diagonal(dim1=2, dim2=3).add_(at_neighbour)\n", "", "measurements"),
    Mutant("cutoff at the last crossing", A, "falls.int().argmax(1, keepdim=True)", "falls.shape[1] - 1 - falls.flip(1).int().argmax(1, keepdim=True)", "measurements"),
    Mutant("contrast turned round", A, "low.mean(0) - high.mean(0)", "high.mean(0) - low.mean(0)", "measurements roles"),
    Mutant("Embed part with W_K for W_Q", Q, "_exact_parts(model, adjacency, model.attention(0).W_Q[head.index])", "_exact_parts(model, adjacency, model.attention(0).W_K[head.index])", "measurements"),
    Mutant("b_in dropped from the parts", Q, "F.gelu(affine(y, mlp.W_in, mlp.b_in))", "F.gelu(affine(y, mlp.W_in))", "decomposition"),
    Mutant("b_out dropped from the parts", Q, "+ after + constant", "+ after", "decomposition"),
    Mutant("PosEmbed counted twice in the remainder", Q, "part.sum(0) - pos_embed", "part.sum(0) - 2 * pos_embed", "decomposition"),
    Mutant("rows centred over queries", Q, "term.mean(-1, keepdim=True)", "term.mean(-2, keepdim=True)", "measurements"),
    Mutant("coefficient not divided by v·v", D, "rows @ direction / (direction @ direction)", "rows @ direction / direction.norm()", "measurements"),
    Mutant("v a sum for a mean", D, "neighbour_queries(model, head).mean(0)", "neighbour_queries(model, head).sum(0)", "measurements"),
    Mutant("largest of the anchors for the smallest", D, "(norms[inside].min() / norms[~inside].max())", "(norms[inside].max() / norms[~inside].max())", "measurements"),
    Mutant("b_Q dropped from every query", B, "(W_pos @ weight + bias)[:, None, :]", "(W_pos @ weight)[:, None, :]", "measurements"),
    Mutant("bounds with low and high exchanged", B, "        lows.append(_softmax_share(low, high, inside))\n        highs.append(_softmax_share(high, low, inside))", "        lows.append(_softmax_share(high, low, inside))\n        highs.append(_softmax_share(low, high, inside))", "measurements"),
    Mutant("bounds that forget the edge", B, "certain = alone + rows * added[:, [vertex]]", "certain = alone + (1 - rows) * added[:, [vertex]]", "measurements"),
    Mutant("anchor scores not centred", B, "(scores - scores.mean(-1, keepdim=True))", "(scores)", "measurements"),
    Mutant("b_O of layer 0 dropped from the base", "models/first_attention.py", "model.W_pos + first.b_O", "model.W_pos", "patching"),
    Mutant("query patched with the key's sets", P, "numerator[graphs] = distances.to", "numerator[graphs] = distances.flip(1).to", "patching"),
    Mutant("direct path around the MLP missing", P, "gelu_(pre), after) + by_itself", "gelu_(pre), after)", "patching"),
    Mutant("1/√d_head missing from patched patterns", P, "keys = (k / math.sqrt(k.shape[-1]))", "keys = k", "patching"),
    Mutant("mean of ratios for ratio of means", P, "self.numerator.double().mean(0) / self.denominator.double().mean()", "self.per_graph.double().mean(0)", "patching"),
    Mutant("Shapley weights of another size", X, "1 / (n * math.comb(n - 1, size))", "1 / (n * math.comb(n, size))", "patching"),
    Mutant("worst set of each size", X, "score.cpu()[members].argmin()", "score.cpu()[members].argmax()", "patching"),
    Mutant("composition score not normalised by what reads", C, "norm(output @ reads) / (norm(output) * norm(reads))", "norm(output @ reads) / norm(output)", "decomposition"),
    Mutant("K side not transposed", C, "W_QK if side == \"Q\" else W_QK.mT", "W_QK", "decomposition"),
    Mutant("residual branch missing around the MLP", R, "return stream + model.mlp(0)(stream)", "return model.mlp(0)(stream)", "residual decomposition"),
    Mutant("values not centred before the main axis", R, "centred = values.double() - values.double().mean((0, 1))", "centred = values.double()", "residual"),
    Mutant("smallest direction for the main one", R, "eigenvectors[:, -1]", "eigenvectors[:, 0]", "residual"),
    Mutant("rank-1 share from unsquared values", R, "coefficient.square().sum(1), centred.square().sum((1, 2))", "coefficient.abs().sum(1), centred.abs().sum((1, 2))", "residual"),
    Mutant("score direction without the mean key", R, "keys[:, target].mean(0) - keys.mean((0, 1))", "keys[:, target].mean(0) + keys.mean((0, 1))", "residual"),
    Mutant("signature centred", R, "cosine_similarity(before, after, dim=1)", "cosine_similarity(before - before.mean(1, keepdim=True), after, dim=1)", "residual"),
    Mutant("erased twice", N, "return resid - deviation[..., None] * slope", "return resid - 2 * deviation[..., None] * slope", "residual"),
    Mutant("mean ablation over vertices", N, "values.mean(0, keepdim=True)", "values.mean(1, keepdim=True)", "residual"),
    Mutant("ablation that leaves the head in", N, "stand_in(z, ablation, generator=generator) - z)", "stand_in(z, ablation, generator=generator))", "residual"),
    Mutant("resampling onto itself", N, "order.roll(1)", "order.roll(0)", "residual"),
    Mutant("the swap without its MLP", N, "pattern(mid + mlp(mid))", "pattern(mid)", "residual"),
    Mutant("difference to the label's own logit", L, "(columns.sum(0) - columns) / (n_classes - 1)", "columns.sum(0) / n_classes", "attribution"),
    Mutant("neurons summed over vertices", L, "parts[name].append(cache[name].mean(1))", "parts[name].append(cache[name].sum(1))", "attribution"),
    Mutant("biases of attention left out", L, "model.b_O[layer] + model.mlp(layer).b_out for", "model.mlp(layer).b_out for", "attribution"),
    Mutant("interval of 90 % for 95 %", "verdicts/statistics.py", "CONFIDENCE = 0.95", "CONFIDENCE = 0.90", "statistics"),
    Mutant("population std for the sample's", "claims/test_reader_pattern.py", "rows.std() / rows.mean().abs()", "rows.std(correction=0) / rows.mean().abs()", "claim_measures"),
    Mutant("one-sided bound from both tails", S, "confidence=2 * confidence - 1).high", "confidence=confidence).high", "statistics"),
    Mutant("worst of several without Bonferroni", S, "confidence=1 - (1 - CONFIDENCE) / len(counts))", "confidence=CONFIDENCE)", "statistics"),
    Mutant("gain counted as loss", S, "(lost - gained) / trials", "(lost + gained) / trials", "statistics"),
    Mutant("bootstrap without replacement", S, "draws = torch.randint(n, (_CHUNK, n), generator=generator)", "draws = torch.rand(_CHUNK, n, generator=generator).argsort(1)", "statistics"),
    Mutant("leaves kept when pruning", "circuits/reduction.py", "degree - neighbours_of(adjacency, degree <= 1)", "degree - neighbours_of(adjacency, degree < 1)", "attribution"),
    Mutant("an edit counted as made when it never was", "circuits/interventions.py", "if count != 1:", "if count > 1:", "patching"),
    Mutant("p-value that can be zero", "verdicts/nulls.py", "(1 + self.as_large) / (1 + self.draws)", "self.as_large / self.draws", "nulls"),
    Mutant("draws that tie do not count", "verdicts/nulls.py", "not draw < observed", "draw > observed", "nulls"),
    Mutant("Bonferroni's factor for Holm's", "verdicts/nulls.py", "(len(p_values) - rank) * p_values", "len(p_values) * p_values", "nulls"),
    Mutant("corrected p-values out of order", "verdicts/nulls.py", "max(largest, (len", "max(0.0, (len", "nulls"),
    Mutant("the smallest over the parts for the largest", "circuits/chance/statistic.py", "return max((value", "return min((value", "untrained"),
    Mutant("uncentred rank-1 share among untrained models", "circuits/chance/statistic.py", "    flat = flat - flat.mean(0)\n    spectrum", "    spectrum", "untrained"),
    Mutant("one untrained model drawn over and over", "circuits/untrained.py", "f\"untrained model {index}\"", "\"untrained model\"", "untrained"),
    Mutant("ranks of a cut list taken for exact", "circuits/untrained.py", "        if not observed < self.largest_draws[-1]:\n", "        if True:\n", "untrained"),
    Mutant("an upper limit of a quantile that is its draw", "circuits/untrained.py", "ordered[min(high, n) - 1]", "ordered[at - 1]", "untrained"),
    Mutant("a claim at chance that says nothing for itself", "verdicts/nulls.py", "and claim.at_chance is None", "and False", "nulls"),
    Mutant("the lowest member chosen and measured on the same graphs", S, "_limits(members[[first], 1::2], statistic", "_limits(members[[int(value.argmin())]], statistic", "coverage statistics"),
    Mutant("a percentile interval of a minimum", S, "return Estimate(\n        value.min().item(), low.min().item(), high.item(), members.shape[1], each, value.tolist()\n    )", "return bootstrap(members[..., 0].T, lambda means: means.amin(1), generator=generator)", "coverage statistics"),
    Mutant("intervals of any few graphs", S, "    if n < FEWEST_GRAPHS:\n", "    if n < 2:\n", "statistics"),
    Mutant("limits that leave skew out", S, "_TAIL = 0.005", "_TAIL = 0.05", "coverage"),
    Mutant("vertices counted as graphs", S, "(k.sum() ** 2 / k.square().sum())", "k.sum()", "statistics"),
    Mutant("graphs that settle it half the time", "verdicts/expectations.py", "POWER * reach / gap", "reach / gap", "verdicts"),
    Mutant("the Embed part left out of the certified score", B, "queries[i] @ keys.mT @ weight + (by_edge(i)[:, i] * rows[i]).sum(-1)", "queries[i] @ keys.mT @ weight", "untrained measurements"),
    Mutant("only the first subject judged", "verdicts/plugin/collection.py", "metafunc.parametrize(\"subject\", self.run.subjects, ids=ids,", "metafunc.parametrize(\"subject\", self.run.subjects[:1], ids=ids[:1],", "own_hooks"),
    Mutant("refuted on too few cases", "verdicts/judge.py", "    expect.leave_open_what_saw_too_little()\n", "", "verdicts"),
    Mutant("a gauge blamed where the part is absent", "verdicts/variants.py", " and result.verdict != \"absent\":", ":", "variants"),
    Mutant("a reported number justifies a gauge", "verdicts/variants.py", "[name for name in changed if name in judged_by]", "list(changed)", "variants"),
    Mutant("a missed bound reads as if it were met", "verdicts/wording.py", '"refuted": "not "', '"refuted": ""', "verdicts"),
    Mutant("a claim that fails by itself counts as broken", "verdicts/matrices.py", '    if claim.verdict != "holds":\n        return NOT_ASKED\n', "", "variants"),
    Mutant("a gauge that moves no member but the least", "verdicts/variants.py", "or not _close(before.expect.members[name], after.expect.members[name])", "or False", "any_size"),
    Mutant("a part of a run replaces a record", "verdicts/record.py", "not partial or not path.exists() or _is_partial(path)", "True", "nothing_lost"),
    Mutant("a bundle drawn of another subject", "verdicts/bundle.py", "        if first", "        if False and first", "bundle"),
    Mutant("what a part of a run lacks is lost", "verdicts/history.py", "or not self.partial[at]", "or True", "history"),
    Mutant("a missed bound drawn as one that is met", "verdicts/axes.py", "\"\" if held else \" hollow\"", "\"\"", "side_by_side"),
    Mutant("a bound that differs left out", "verdicts/side_by_side.py", "for one in reversed(there)", "for one in there[:1]", "side_by_side"),
    Mutant("a counterexample of the random sample that refutes nothing", "claims/search.py", "_extreme([climbed, drawn, sample.worst], expect", "_extreme([climbed, drawn], expect", "search"),
    Mutant("validation graphs outside the domain that refute", "claims/search.py", "return graphs[(edges >= domain.min_edges) & (edges <= domain.max_edges)]", "return graphs", "search"),
    Mutant("edges of the author's recipe for a checkpoint without one", "circuits/subject.py", "if not {\"min_edges\", \"max_edges\"} <= set(recipe):", "if recipe is None:", "any_size"),
    Mutant("degrees that no vertex has told apart", "claims/test_reader_pattern.py", "top = min(6, max(intervals))", "top = 6", "any_size"),
    Mutant("always planar judged as right where all graphs are", "circuits/subject.py", "if len(self.graphs.labels.unique()) < 2:", "if len(self.graphs.labels.unique()) < 1:", "any_size"),
    Mutant("a stream that the pointer does not read", "claims/test_degree_in_residual.py", "    require_layer_1(pointer)  # of a later one x₁ is not the input\n", "", "any_size"),
    Mutant("pairs with nothing to restore kept", P, "changed = denominator > 0", "changed = denominator >= 0", "patching"),
    Mutant("b_Q, b_K and b_V left out of the table", "models/first_attention.py", "W_pos @ weight.double() + bias[:, None].double())", "W_pos @ weight.double())", "transformer"),
    Mutant("b_out left out of what reads the first MLP", T, "(mlp.b_out.double() @ weight.double() + bias.double())", "bias.double()", "transformer"),
    Mutant("what depends on a role shared between roles", "circuits/subject.py", "    @cached_property\n    def pointer_parts", "    @property\n    @_shared\n    def pointer_parts", "controls"),
    Mutant("a direction held at zero for its mean", N, "change = (along.mean() - along)", "change = (0 - along)", "residual"),
    Mutant("a changed graph taken for the one before", "claims/search.py", "for row, key in enumerate(keys) if key not in self._values", "for row, key in enumerate(keys) if not self._values", "search"),
    Mutant("exponentials that overflow", "models/kernels.py", "(scores - scores.amax(-1, keepdim=True)).exp_()", "scores.exp()", "kernels"),
)  # fmt: skip


class Copy:
    """A copy of the project, in which one fault at a time is put, and a process that runs its tests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
        self.pytest = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            cwd=directory,
            env={
                **os.environ,
                "PYTHONPATH": str(directory),
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def passes(self, tests: str) -> bool:
        """Whether the named tests pass."""
        files = [str(test_file(name).relative_to(ROOT)) for name in tests.split()]
        options = ["-x", "-q", "-m", "not long", "-p", "no:cacheprovider"]
        assert self.pytest.stdin is not None
        assert self.pytest.stdout is not None
        print(json.dumps([*options, *files]), file=self.pytest.stdin, flush=True)
        if not (code := self.pytest.stdout.readline()):
            raise RuntimeError(f"{self.directory}: the process that runs its tests has ended")
        return int(code) == 0

    def survives(self, mutant: Mutant) -> bool:
        """Whether the named tests pass with the fault in place."""
        file = self.directory / mutant.file
        whole = file.read_text(encoding="utf-8")
        try:
            file.write_text(mutant.source(self.directory), encoding="utf-8")
            return self.passes(mutant.tests)
        finally:
            file.write_text(whole, encoding="utf-8")

    def close(self) -> None:
        self.pytest.communicate()


class Copies:
    """As many copies of the project as workers, each used by one worker at a time."""

    def __init__(self, directory: Path, count: int) -> None:
        self.all = [Copy(directory / str(index)) for index in range(count)]
        self.free: SimpleQueue[Copy] = SimpleQueue()
        for copy in self.all:
            self.free.put(copy)

    def survives(self, mutant: Mutant) -> bool:
        """Whether the named tests pass with the fault in place."""
        with self._one() as copy:
            return copy.survives(mutant)

    def are_green(self, tests: str) -> bool:
        """Whether the named tests pass without a fault; if not, that they fail with one says nothing."""
        with self._one() as copy:
            return copy.passes(tests)

    def close(self) -> None:
        for copy in self.all:
            copy.close()

    @contextmanager
    def _one(self) -> Iterator[Copy]:
        copy = self.free.get()
        try:
            yield copy
        finally:
            self.free.put(copy)


def test_file(name: str) -> Path:
    """Where the tests of that name are."""
    (path,) = (ROOT / "tests").glob(f"*/test_{name}.py")
    return path


def main() -> int:
    """Exit code 0 when every fault was caught, 1 when one was not, 2 when tests fail without one."""
    parser = argparse.ArgumentParser(
        description="Plant faults in the measurements and see whether the tests notice."
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="copies at a time (default: one a core)",
    )
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    parser.add_argument(
        "--share",
        type=int,
        nargs=2,
        metavar=("K", "N"),
        default=(0, 1),
        help="one fault in N, another for each K up to N",
    )
    parser.add_argument(
        "--passed",
        action="store_true",
        help="the tests have just passed: do not run them without a fault first",
    )
    options = parser.parse_args()
    k, n = options.share
    if n < 1:
        parser.error(f"--share: N must be at least 1, got {n}")
    mutants = [mutant for mutant in MUTANTS if options.only in mutant.fault][k % n :: n]
    survivors = []
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(Copies(Path(directory), options.jobs)) as copies,
        ThreadPoolExecutor(options.jobs) as executor,
    ):
        named = [] if options.passed else sorted({mutant.tests for mutant in mutants})
        green = dict(zip(named, executor.map(copies.are_green, named), strict=True))
        red = [tests for tests in named if not green[tests]]
        for tests in red:
            print(f"without any fault these tests fail: {tests}", file=sys.stderr, flush=True)
        mutants = [mutant for mutant in mutants if mutant.tests not in red]
        for mutant, survives in zip(mutants, executor.map(copies.survives, mutants), strict=True):
            print(
                f"{'SURVIVED' if survives else 'caught  '}  {mutant.fault}  ({mutant.file}; {mutant.tests})",
                flush=True,
            )
            survivors += [mutant.fault] if survives else []
    print(
        f"{len(mutants) - len(survivors)} of {len(mutants)} faults caught"
        + (f"; survivors: {', '.join(survivors)}" if survivors else "")
        + (f"; not tried, for their tests fail without: those of {', '.join(red)}" if red else "")
    )
    return 2 if red else 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
