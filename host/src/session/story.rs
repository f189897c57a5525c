//! A report as a story for people.

use std::fmt;

use super::{CommandReport, PackageReport, Reason, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            Reason::ClientInitiated => "on the device's own decision",
            Reason::BootstrapComplete => "to report a bootstrap",
        };
        writeln!(f, "Session with {}, {why}", self.authority)?;
        for connection in &self.connections {
            writeln!(
                f,
                "  connected to {} ({})",
                connection.server, connection.over
            )?;
        }
        for package in &self.packages {
            write!(f, "{package}")?;
        }
        let (packages, commands) = (self.packages.len(), self.commands());
        match &self.error {
            None => write!(f, "Ended by the server")?,
            Some(error) => write!(f, "Failed: {error}")?,
        }
        writeln!(
            f,
            "; {packages} packages, {commands} commands, {} ms",
            self.milliseconds
        )
    }
}

impl fmt::Display for PackageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  Package#{} sent to {} ({} bytes",
            self.kind, self.server, self.bytes
        )?;
        for alert in &self.alerts {
            write!(f, ", alert {alert}")?;
        }
        match self.answer_status {
            Some(status) => writeln!(f, "): HTTP {status}, {} bytes", self.answer_bytes)?,
            None => writeln!(f, "): no answer")?,
        }
        for command in &self.commands {
            write!(f, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CommandReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() {
            "(not a command)"
        } else {
            &self.name
        };
        write!(f, "    {name}")?;
        for parameter in &self.parameters {
            write!(f, " {parameter}")?;
        }
        if let (Some(status), Some(reason)) = (self.status, self.reason) {
            write!(f, ": {status} {reason} ({} ms)", self.milliseconds)?;
        }
        writeln!(f)?;
        for decision in &self.journal.decisions {
            let verdict = if decision.allowed {
                "allowed"
            } else {
                "denied"
            };
            writeln!(
                f,
                "      {verdict}: {} {}: {}",
                decision.access, decision.on, decision.rule
            )?;
        }
        if self.journal.further > 0 {
            writeln!(f, "      and {} more decisions", self.journal.further)?;
        }
        if !self.journal.plugins.is_empty() {
            let plugins: Vec<&str> = self.journal.plugins.iter().map(String::as_str).collect();
            writeln!(f, "      served by {}", plugins.join(", "))?;
        }
        match &self.error {
            Some(error) => writeln!(f, "      {error}"),
            None => Ok(()),
        }
    }
}
