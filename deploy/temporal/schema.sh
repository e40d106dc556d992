#!/bin/sh
# Makes or updates both schemas. Address, user and password are in SQL_ variables, which the tool reads.
set -eu

make() {
  temporal-sql-tool --db "$1" create || echo "$1 is there already"
  temporal-sql-tool --db "$1" setup-schema -v 0.0
  temporal-sql-tool --db "$1" update-schema -d "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

make temporal temporal
make temporal_visibility visibility
