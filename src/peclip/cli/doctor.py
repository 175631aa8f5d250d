"""`peclip doctor`: checks the installation and suggests fixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from peclip.cli import console
from peclip.cli.options import ReportFormatOpt, print_report
from peclip.text.display import printable

if TYPE_CHECKING:
    from peclip.cli.diagnosis import Finding


def doctor(form: ReportFormatOpt = "table") -> None:
    """Show versions, decoders, devices, cache and extras, and explain how to install missing components."""
    from peclip.cli.diagnosis import diagnose

    findings = diagnose()
    report = [finding.to_dict() for finding in findings]
    print_report(form, report, lambda: _print_table(findings))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(5)


def _print_table(findings: Sequence[Finding]) -> None:
    marks = {"ok": "[green]ok[/]", "optional": "[yellow]--[/]", "missing": "[red]!![/]"}
    for finding in findings:
        console.out().print(
            f"{marks[finding.state]}  {finding.name:<14} {escape(printable(finding.value))}"
        )
        if finding.advice:
            console.out().print(f"{'':<19}{escape(printable(finding.advice))}", style="dim")
