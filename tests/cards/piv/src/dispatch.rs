//! Which part of Trussed does what for the PIV application.

use trussed::Platform;
use trussed::backend::{Backend, BackendId};
use trussed::serde_extensions::{ExtensionDispatch, ExtensionId, ExtensionImpl};
use trussed::service::ServiceResources;
use trussed::types::Context;
use trussed_auth::AuthExtension;
use trussed_auth_backend::{AuthBackend, AuthContext, FilesystemLayout};
use trussed_chunked::ChunkedExtension;
use trussed_core::Error;
use trussed_core::api::{Reply, Request, reply, request};
use trussed_core::types::Location;
use trussed_hpke::HpkeExtension;
use trussed_rsa_alloc::SoftwareRsa;
use trussed_staging::{StagingBackend, StagingContext};
use trussed_wrap_key_to_file::WrapKeyToFileExtension;

/// In the order in which they are asked.
pub(crate) const BACKENDS: &[BackendId<Part>] = &[
    BackendId::Custom(Part::Rsa),
    BackendId::Custom(Part::Pins),
    BackendId::Custom(Part::Staging),
    BackendId::Core,
];

pub(crate) enum Part {
    Rsa,
    Pins,
    Staging,
}

pub(crate) struct Parts {
    pins: AuthBackend,
    staging: StagingBackend,
}

impl Parts {
    pub(crate) fn new() -> Self {
        Self {
            pins: AuthBackend::new(Location::Internal, FilesystemLayout::V1),
            staging: StagingBackend::new(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Contexts {
    pins: AuthContext,
    staging: StagingContext,
}

pub(crate) enum Extension {
    Pins,
    Chunked,
    Hpke,
    WrapKeyToFile,
}

impl ExtensionId<AuthExtension> for Parts {
    type Id = Extension;
    const ID: Extension = Extension::Pins;
}

impl ExtensionId<ChunkedExtension> for Parts {
    type Id = Extension;
    const ID: Extension = Extension::Chunked;
}

impl ExtensionId<HpkeExtension> for Parts {
    type Id = Extension;
    const ID: Extension = Extension::Hpke;
}

impl ExtensionId<WrapKeyToFileExtension> for Parts {
    type Id = Extension;
    const ID: Extension = Extension::WrapKeyToFile;
}

impl From<Extension> for u8 {
    fn from(extension: Extension) -> u8 {
        extension as u8
    }
}

impl TryFrom<u8> for Extension {
    type Error = Error;

    fn try_from(number: u8) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Pins),
            1 => Ok(Self::Chunked),
            2 => Ok(Self::Hpke),
            3 => Ok(Self::WrapKeyToFile),
            _ => Err(Error::FunctionNotSupported),
        }
    }
}

impl ExtensionDispatch for Parts {
    type BackendId = Part;
    type Context = Contexts;
    type ExtensionId = Extension;

    fn core_request<P: Platform>(
        &mut self,
        part: &Part,
        context: &mut Context<Contexts>,
        request: &Request,
        resources: &mut ServiceResources<P>,
    ) -> Result<Reply, Error> {
        let Context { core, backends, .. } = context;
        match part {
            Part::Rsa => SoftwareRsa.request(core, &mut (), request, resources),
            Part::Pins => self
                .pins
                .request(core, &mut backends.pins, request, resources),
            Part::Staging => self
                .staging
                .request(core, &mut backends.staging, request, resources),
        }
    }

    fn extension_request<P: Platform>(
        &mut self,
        part: &Part,
        extension: &Extension,
        context: &mut Context<Contexts>,
        request: &request::SerdeExtension,
        resources: &mut ServiceResources<P>,
    ) -> Result<reply::SerdeExtension, Error> {
        let Context { core, backends, .. } = context;
        match (part, extension) {
            (Part::Pins, Extension::Pins) => {
                ExtensionImpl::<AuthExtension>::extension_request_serialized(
                    &mut self.pins,
                    core,
                    &mut backends.pins,
                    request,
                    resources,
                )
            }
            (Part::Staging, Extension::Chunked) => {
                ExtensionImpl::<ChunkedExtension>::extension_request_serialized(
                    &mut self.staging,
                    core,
                    &mut backends.staging,
                    request,
                    resources,
                )
            }
            (Part::Staging, Extension::Hpke) => {
                ExtensionImpl::<HpkeExtension>::extension_request_serialized(
                    &mut self.staging,
                    core,
                    &mut backends.staging,
                    request,
                    resources,
                )
            }
            (Part::Staging, Extension::WrapKeyToFile) => {
                ExtensionImpl::<WrapKeyToFileExtension>::extension_request_serialized(
                    &mut self.staging,
                    core,
                    &mut backends.staging,
                    request,
                    resources,
                )
            }
            _ => Err(Error::RequestNotAvailable),
        }
    }
}
