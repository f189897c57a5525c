//! What plug-ins reach of the rooms above theirs. Every call names on whose behalf it runs; what is another's stays out of
//! reach here, whatever a plug-in asks for.

use bailiwick_protocol::{ClientUri, InstanceSelector, StatusCode};

use crate::accounts::Accounts;
use crate::authority::{Authority, Instance};
use crate::certificates::{Credential, Description, Origin, Principal, Purpose, Role, State};
use crate::keys::KeyRef;
use crate::local::now;
use crate::permissions::{
    Access, Denied, GrantTerms, PermissionError, Permissions, Permit, Rights,
};
use crate::plugins::{
    AccountView, AlertRequest, ApplicationGrant, ApplicationPrincipal, CertificateRole,
    CertificateView, GrantView, NewCertificate, PluginError, Services,
};
use crate::provisioning::{self, Offer, Refused};
use crate::session::raise_alert;
use crate::store::{StoreError, Transaction};

/// The rooms that serve plug-ins.
pub(super) struct PluginServices {
    pub(super) accounts: Accounts,
    pub(super) permissions: Permissions,
}

impl Services for PluginServices {
    fn accounts(&self, who: &Authority) -> Result<Vec<AccountView>, PluginError> {
        let seen = self.accounts.views(who);
        seen.map_err(|error| unavailable(&error))
    }

    fn raise_alert(
        &self,
        transaction: &Transaction,
        who: &Authority,
        alert: AlertRequest,
    ) -> Result<(), PluginError> {
        raise_alert(transaction, who, &alert)
    }

    fn certificates(
        &self,
        transaction: &Transaction,
        who: &Authority,
    ) -> Result<Vec<CertificateView>, PluginError> {
        let all = match *who == Authority::operator() {
            true => Credential::all(transaction),
            false => Credential::of(transaction, who),
        };
        let all = all.map_err(|error| unavailable(&error))?;
        Ok(all.iter().filter_map(view).collect())
    }

    fn add_certificate(
        &self,
        transaction: &Transaction,
        who: &Authority,
        certificate: NewCertificate,
    ) -> Result<String, PluginError> {
        for_servers(who)?;
        let role = match certificate.role {
            CertificateRole::Anchor => Role::Anchor,
            CertificateRole::Intermediate => Role::Intermediate,
            // Its key would have to be here already: enrolment does that.
            CertificateRole::Identity => return Err(PluginError::NotSupported),
        };
        let purposes = certificate
            .purposes
            .iter()
            .map(|text| text.parse::<Purpose>());
        let purposes = purposes
            .collect::<Result<_, _>>()
            .map_err(|error| invalid(&error))?;
        let offer = Offer {
            authority: who.clone(),
            role,
            chain_der: vec![certificate.der],
            purposes,
            origin: Origin::Session,
        };
        match provisioning::add(transaction, offer, now()) {
            Ok(credential) => Ok(credential.id),
            Err(refused) => Err(of_refused(&refused)),
        }
    }

    fn remove_certificate(
        &self,
        transaction: &Transaction,
        who: &Authority,
        id: &str,
        role: CertificateRole,
    ) -> Result<(), PluginError> {
        for_servers(who)?;
        let all = Credential::of(transaction, who).map_err(|error| unavailable(&error))?;
        let same = |credential: &&Credential| credential.id == id && role_of(credential) == role;
        let credential = all.iter().find(same).ok_or(PluginError::NotFound)?;
        match provisioning::withdraw(transaction, credential, &Origin::Session) {
            Ok(_left) => Ok(()),
            Err(refused) => Err(of_refused(&refused)),
        }
    }

    fn give_rights(
        &self,
        transaction: &Transaction,
        who: &Authority,
        grant: ApplicationGrant,
    ) -> Result<(), PluginError> {
        let now = now();
        let to = principal(who, &grant.to)?;
        let rights =
            Rights::from_bits(grant.rights).filter(|rights| !rights.contains(Access::Delegate));
        let rights = rights.ok_or_else(|| invalid(&"the rights are read, write and execute"))?;
        let permit = self.delegation(transaction, who, &grant.on, now)?;
        let mut given = self.grants_on(transaction, permit.instance())?;
        if given.any(|(by, receiver)| by == *who && receiver == to) {
            let text = format!(
                "{to} has a grant on {} already; delete that one first",
                grant.on
            );
            return Err(PluginError::Conflict(Some(text)));
        }
        let terms = GrantTerms {
            rights,
            not_after: grant.not_after,
            priority: 0,
        };
        let granted = self
            .permissions
            .grant(transaction, &permit, &to, terms, now);
        granted.map_err(|error| of_permissions(&error))
    }

    fn take_rights(
        &self,
        transaction: &Transaction,
        who: &Authority,
        to: &ApplicationPrincipal,
        on: &str,
    ) -> Result<(), PluginError> {
        let now = now();
        let to = principal(who, to)?;
        let permit = self.delegation(transaction, who, on, now)?;
        let taken = self.permissions.revoke(transaction, &permit, &to, now);
        taken.map_err(|error| of_permissions(&error))
    }

    fn given_rights(
        &self,
        transaction: &Transaction,
        who: &Authority,
    ) -> Result<Vec<GrantView>, PluginError> {
        let realm = Authority::local(&Principal::realm(who));
        let given = self.permissions.grants(transaction, |grant| {
            grant.granted_by == *who && grant.to.as_str().starts_with(realm.as_str())
        });
        let given = given.map_err(|error| unavailable(&error))?;
        let views = given.into_iter().map(|(instance, grant)| GrantView {
            to: grant.to.to_string(),
            on: instance.to_string(),
            rights: grant.rights.bits(),
            not_after: grant.not_after,
        });
        Ok(views.collect())
    }
}

impl PluginServices {
    /// The permit of `who` to say who else may use the instance at `on`.
    ///
    /// Only for instances on record, whose owner is known: on what plug-ins bring along the device policy gives rights, to
    /// applications too.
    fn delegation(
        &self,
        transaction: &Transaction,
        who: &Authority,
        on: &str,
        now: u64,
    ) -> Result<Permit, PluginError> {
        for_servers(who)?;
        let uri = ClientUri::parse(on).map_err(|error| invalid(&error))?;
        let InstanceSelector::Id(miid) = &uri.instance else {
            return Err(invalid(
                &"the target names no single instance; write MOID/MIID/",
            ));
        };
        let instance = Instance::new(&uri.moid, miid);
        if instance.to_string() != on {
            return Err(invalid(
                &"the target is not the root of an instance; write MOID/MIID/",
            ));
        }
        let permit = self
            .permissions
            .permit(transaction, who, Access::Delegate, &instance, now);
        let permit = permit.map_err(|denied| of_denied(&denied))?;
        let recorded = self.permissions.instances_of(transaction, &instance.moid);
        let recorded = recorded.map_err(|error| unavailable(&error))?;
        match recorded.iter().any(|(known, _)| *known == instance) {
            true => Ok(permit),
            false => Err(invalid(
                &"the target belongs to the device, whose policy gives rights on it",
            )),
        }
    }

    /// By whom and to whom there are grants on an instance.
    fn grants_on(
        &self,
        transaction: &Transaction,
        instance: &Instance,
    ) -> Result<impl Iterator<Item = (Authority, Authority)> + use<>, PluginError> {
        let recorded = self.permissions.instances_of(transaction, &instance.moid);
        let recorded = recorded.map_err(|error| unavailable(&error))?;
        let record = recorded.into_iter().find(|(known, _)| known == instance);
        let grants = record.map(|(_, record)| record.grants).unwrap_or_default();
        Ok(grants.into_iter().map(|grant| (grant.granted_by, grant.to)))
    }
}

/// Management Authorities alone certify and grant: an application that may use such an object acts for nobody else.
fn for_servers(who: &Authority) -> Result<(), PluginError> {
    match who.is_local() {
        true => Err(PluginError::NotPermitted),
        false => Ok(()),
    }
}

fn principal(who: &Authority, named: &ApplicationPrincipal) -> Result<Authority, PluginError> {
    let principal = match named {
        ApplicationPrincipal::Subject(text) => Principal::subject(text),
        ApplicationPrincipal::Policy(text) => Principal::policy(text),
    };
    Ok(principal.map_err(|error| invalid(&error))?.of(who))
}

fn view(credential: &Credential) -> Option<CertificateView> {
    let described = Description::of(credential.der()).ok()?;
    Some(CertificateView {
        id: credential.id.clone(),
        role: role_of(credential),
        der: credential.der().to_vec(),
        purposes: credential.purposes.iter().map(Purpose::to_string).collect(),
        origins: credential.origins.iter().map(Origin::to_string).collect(),
        own: credential.origins.contains(&Origin::Session),
        state: match credential.state {
            State::Active => "active",
            State::Suspended => "suspended",
            State::Trial { .. } => "trial",
        }
        .to_owned(),
        key_in: match &credential.role {
            Role::Identity {
                key: KeyRef::File(_),
            } => Some("file".to_owned()),
            Role::Identity {
                key: KeyRef::Card { card, .. },
            } => Some(card.serial.clone()),
            Role::Anchor | Role::Intermediate => None,
        },
        subject: described.subject,
        issuer: described.issuer,
        serial_number: described.serial,
        not_before: iso8601(described.not_before),
        not_after: iso8601(described.not_after),
    })
}

fn role_of(credential: &Credential) -> CertificateRole {
    match credential.role {
        Role::Anchor => CertificateRole::Anchor,
        Role::Identity { .. } => CertificateRole::Identity,
        Role::Intermediate => CertificateRole::Intermediate,
    }
}

/// `2026-11-24T09:40:12Z`. The days are counted as in Howard Hinnant's `civil_from_days`.
fn iso8601(unix: i64) -> String {
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn of_refused(refused: &Refused) -> PluginError {
    match refused {
        Refused::TooMany { .. } => PluginError::TooLarge,
        Refused::NotFromThere { .. } => PluginError::NotPermitted,
        Refused::Store(error) => unavailable(error),
        refused => invalid(refused),
    }
}

fn of_denied(denied: &Denied) -> PluginError {
    match denied.status() {
        StatusCode::NOT_FOUND => PluginError::NotFound,
        StatusCode::FORBIDDEN => PluginError::NotPermitted,
        _ => unavailable(denied),
    }
}

fn of_permissions(error: &PermissionError) -> PluginError {
    match error {
        PermissionError::Store(StoreError::Full { .. }) => PluginError::TooLarge,
        PermissionError::Grant(crate::permissions::GrantRefused::NothingToRevoke { .. }) => {
            PluginError::NotFound
        }
        PermissionError::Grant(refused) => invalid(refused),
        error => unavailable(error),
    }
}

fn invalid(reason: &dyn std::fmt::Display) -> PluginError {
    PluginError::InvalidArgument(Some(reason.to_string()))
}

fn unavailable(reason: &dyn std::fmt::Display) -> PluginError {
    PluginError::Unavailable(Some(reason.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_iso_8601() {
        for (unix, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_826_332, "2000-02-29T12:12:12Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso8601(unix), expected);
        }
    }
}
