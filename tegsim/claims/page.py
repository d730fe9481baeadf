"""The page of all claims: text from `claims.json` and from nothing else."""

from tegsim.claims.record import Book, Claim, Figure, Verdict

HEAD = """# What the paper promises, and what was measured

Written by `make claims` from [claims.json](claims.json): every number, verdict and plot follows from that file. The
thresholds behind each verdict are constants of the claim's module under `tegsim/claims/`, fixed before the full run.
Values are means over seeds, with 95 % bootstrap intervals over seeds in brackets.
"""

QUICK = """
> This is a quick run: few seeds, small worlds. Its intervals are wide; `make claims` measures in full.
"""

AGAIN = """
## Measure it again

```
make claims TRACES=DIR        # all of it; a run that was done before by the same code is not repeated
make claims-quick TRACES=DIR  # minutes: few seeds, small worlds
```

`DIR` holds public traces, which this project does not ship. It is looked up for:

| file below DIR | from | what it is |
|---|---|---|
| `fgd2023/openb_node_list_gpu_node.csv` | hkust-adsl/kubernetes-scheduler-simulator | hosts with GPUs |
| `fgd2023/openb_pod_list_*.csv.gz` | the same | requests for GPUs, a list each |
| `fgd2023/expected_analysis_allo_discrete.csv.gz` | the same | what its authors' policies left |
| `gentd26/pod_memory_util_anon.csv.gz` | alibaba/clusterdata, 2026-GenAI | memory of containers, every 57 s |
| `gentd26/pod_gpu_memory_used_bytes_anon.csv.gz` | the same | their GPU memory |
| `gpuserver/*_usage_stats.tsv.gz` | charlottegressel/dc_workload_pipeline | GPU servers, hourly: power, heat, use |
| `fan/server_fan_power.csv` | Azure/AzurePublicDataset, GreenSKU | fan power of a server |

Without a file, the claims that need it are skipped, and say so.
"""


def page(book: Book) -> str:
    """The page, as Markdown."""
    parts = [HEAD]
    if book.quick:
        parts.append(QUICK)
    parts.append("\n| claim | paper | promised | measured | verdict |\n|---|---|---|---|---|\n")
    parts += [_row(claim) for claim in book.claims]
    parts += [_section(claim) for claim in book.claims]
    parts.append(AGAIN)
    return "".join(parts)


def number(value: float) -> str:
    """A number as people read it: three significant digits, no exponent within reach.

    >>> number(0.12345), number(12345.6), number(0.0)
    ('0.123', '12,346', '0')
    """
    size = abs(value)
    if size >= 100 or value == round(value):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def shown(figure: Figure) -> str:
    """A figure with its interval."""
    unit = f" {figure.unit}" if figure.unit else ""
    if figure.low == figure.high:
        return f"{number(figure.value)}{unit}"
    return f"{number(figure.value)}{unit} [{number(figure.low)}, {number(figure.high)}]"


def _row(claim: Claim) -> str:
    first = claim.ours[0] if claim.ours else None
    measured = f"{first.name}: {shown(first)}" if first else "not measured"
    link = f"[{claim.claim}](#{claim.name})"
    return f"| {link} | {claim.paper} | {claim.promised} | {measured} | **{claim.verdict.value}** |\n"


def _section(claim: Claim) -> str:
    lines = [f'\n<a id="{claim.name}"></a>\n## {claim.claim}\n\n']
    lines.append(f"Paper {claim.paper}: {claim.promised}.\n\n**{claim.verdict.value.capitalize()}**: {claim.why}.\n")
    if claim.verdict is Verdict.SKIPPED:
        return "".join(lines)
    lines.append(f"\nThe rule, fixed before the full run: {claim.rule}.\n\n| figure | value |\n|---|---|\n")
    lines += [f"| {figure.name} | {shown(figure)} |\n" for figure in claim.ours]
    lines += [f"| *{figure.name}* | {shown(figure)} |\n" for figure in claim.baselines]
    lines += [f"\n![{plot.title}]({plot.name}.svg)\n" for plot in claim.plots]
    lines.append(f"\nHow: {claim.how}.\n")
    return "".join(lines)
