//! Rows as bytes, for backups: every table of one state of a file out, and into a new file. Who copies needs to know no
//! table, so that one of a later version is not left out.

use redb::{ReadableTable as _, TableDefinition, TableHandle as _};

use super::{Snapshot, Tx, reading};
use crate::store::StoreError;

impl Snapshot {
    /// Hands every row of every table to `row`: the table's name, key and value. Tables come one after the other, rows by
    /// key. The state is that of the snapshot however long this takes; an error of `row` ends it.
    pub fn copy_out<E: From<StoreError>>(
        &self,
        mut row: impl FnMut(&str, &[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let view = &self.0;
        let names = reading(&view.place, || {
            let tables = view.tx.list_tables()?;
            Ok(tables.map(|table| table.name().to_owned()).collect::<Vec<_>>())
        })?;
        for name in names {
            let definition = TableDefinition::<&[u8], &[u8]>::new(&name);
            let table = reading(&view.place, || Ok(view.tx.open_table(definition)?))?;
            let mut rows = reading(&view.place, || Ok(table.iter()?))?;
            while let Some((key, value)) = reading(&view.place, || Ok(rows.next().transpose()?))? {
                row(&name, key.value(), value.value())?;
            }
        }
        Ok(())
    }
}

impl Tx {
    /// Stores a row that [`Snapshot::copy_out`] read.
    pub fn copy_in(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if table.is_empty() {
            return Err(StoreError::Io(std::io::Error::other("a table without a name")));
        }
        let definition = TableDefinition::<&[u8], &[u8]>::new(table);
        reading(&self.place, || {
            self.tx.open_table(definition)?.insert(key, value)?;
            Ok(())
        })
    }
}
