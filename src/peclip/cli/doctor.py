"""`peclip doctor`: checks the installation and suggests fixes."""

from __future__ import annotations

import json

import typer

from peclip.cli import console
from peclip.cli.options import ReportFormatOpt


def doctor(form: ReportFormatOpt = "table") -> None:
    """Show versions, decoders, devices, cache and extras, and how to install what is missing."""
    from peclip.cli.diagnosis import diagnose

    findings = diagnose()
    if form == "json":
        typer.echo(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        marks = {"ok": "[green]ok[/]", "optional": "[yellow]--[/]", "missing": "[red]!![/]"}
        from rich.markup import escape

        for finding in findings:
            line = f"{marks[finding.state]}  {finding.name:<14} {escape(finding.value)}"
            console.out().print(line)
            if finding.advice:
                console.out().print(f"{'':<19}{escape(finding.advice)}", style="dim")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(5)
