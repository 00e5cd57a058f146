"""Figures become Markdown: one table for each workload."""

from .workloads import WORKLOADS

HEAD = ["peer", "durability", "median (min–max)", "CPU s / 100k", "Windlass at", "its median (min–max)",
        "its CPU s / 100k", "Windlass is"]


def short(value):
    """Three digits that matter, and no more."""
    if value is None or value != value:
        return "–"
    for least, divisor, form, unit in ((1e6, 1e6, "{:.2f}", "M"), (1e4, 1e3, "{:.1f}", "k"), (100, 1, "{:.0f}", ""),
                                       (10, 1, "{:.1f}", "")):
        if abs(value) >= least:
            return form.format(value / divisor) + unit
    return f"{value:.2f}"


def spread(figure):
    """A median and its range."""
    if not figure["exact"]:
        return "void"
    return f"**{short(figure['median'])}** ({short(figure['min'])}–{short(figure['max'])})"


def ratio(figure, ours):
    """How much better Windlass is: more jobs, or less time. Below 1 it is worse."""
    if not ours or not figure["exact"] or ours["exact"] is False:
        return None
    is_rate = figure["unit"] == "jobs/s"
    return ours["median"] / figure["median"] if is_rate else figure["median"] / ours["median"]


def row(figure, ours):
    """A line of a table."""
    cells = [figure["peer"], figure["durability"], spread(figure), short(figure["cpu_s_per_100k"])]
    if figure["note"]:
        cells[2] += f" {figure['note']}"
    if ours:
        times = ratio(figure, ours)
        ours = {**ours, "exact": ours["exact"] is not False}
        better = "–" if times is None else f"{short(times)} ×"
        cells += [figure["like"], spread(ours), short(ours["cpu_s_per_100k"]), better]
    else:
        cells += ["–"] * 4
    return f"| {' | '.join(cells)} |"


def tables(figures, windlass):
    """All of them."""
    lines = []
    for workload in WORKLOADS:
        rows = [figure for figure in figures if figure["workload"] == workload]
        if not rows:
            continue
        lines += [f"### {workload}, {rows[0]['unit']}", "", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
        lines += [row(figure, windlass.get((workload, figure["like"]))) for figure in rows]
        lines += [f"- void: {figure['peer']}: {figure['void']}" for figure in rows if figure["void"]]
        lines.append("")
    return "\n".join(lines)
