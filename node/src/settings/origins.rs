//! Where missing keys are loaded from.

use std::{fmt, sync::Arc};

use clap::Args;

use crate::origin::{OriginSettings, Table};

/// Where missing keys are loaded from.
#[derive(Args, Clone)]
pub struct OriginArguments {
    /// Where keys with a prefix are loaded from when they are missing, such as img:=http://10.0.0.5:9000/images/{rest}; can be given several times
    #[arg(
        long = "origin",
        env = "LARDER_ORIGIN",
        value_name = "PREFIX=URL",
        value_delimiter = ' ',
        hide_env_values = true
    )]
    pub origin: Vec<String>,

    /// The tables `[[origins]]` of the file, as one array in TOML
    #[arg(
        long = "origins",
        env = "LARDER_ORIGINS",
        value_name = "TABLES",
        hide = true
    )]
    pub origins: Option<String>,
}

impl OriginArguments {
    /// The table of all of them; `None` if there are none.
    pub(crate) fn table(&self) -> Result<Option<Arc<Table>>, String> {
        Table::of(OriginSettings::read(&self.origin, self.origins.as_deref())?)
    }
}

/// Without the headers and URLs, which may hold secrets.
impl fmt::Debug for OriginArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginArguments").finish_non_exhaustive()
    }
}
