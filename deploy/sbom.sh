#!/bin/sh
# Prints the software bill of materials of a release as SPDX 2.3: the crates that the two programs
# contain or are built with, with versions, licences and checksums, from Cargo.lock.
#
#   deploy/sbom.sh VERSION COMMIT TIME TARGET...
#
# TIME is the time of the commit as SPDX writes times: the same commit always gives the same document.
set -eu

cd "$(dirname "$0")/.."
version=$1
commit=$2
time=$3
shift 3

# Lines "PROGRAM NAME VERSION LICENCE", for all targets.
crates() {
    for target in "$@"; do
        for program in plexus plexusd; do
            cargo tree --locked --package $program --target "$target" --edges normal,build --prefix none \
                --format '{p}|{l}' | sed -e 's/ (\*)$//' -e 's/ ([^|]*)|/|/' -e "s/^/$program /" -e 's/ v\([^ |]*\)|/ \1 /'
        done
    done | sort -u
}

cat <<END
SPDXVersion: SPDX-2.3
DataLicense: CC0-1.0
SPDXID: SPDXRef-DOCUMENT
DocumentName: plexus-$version
DocumentNamespace: https://plexus.dev/spdx/plexus-$version-$commit
Creator: Tool: cargo-tree
Created: $time
END
crates "$@" | awk '
    # The checksums of crates from the registry.
    FNR == NR {
        gsub(/"/, "")
        if ($1 == "name") name = $3
        if ($1 == "version") version = $3
        if ($1 == "checksum") checksum[name " " version] = $3
        next
    }
    {
        program = $1; crate = $2 " " $3
        licence = $0
        sub(/^[^ ]+ [^ ]+ [^ ]+ ?/, "", licence)
        # An old form of "or".
        gsub(" */ *", " OR ", licence)
        id = "SPDXRef-" $2 "-" $3
        gsub(/[^A-Za-z0-9.-]/, "-", id)
        if (!(crate in seen)) {
            seen[crate]
            printf "\nPackageName: %s\nSPDXID: %s\nPackageVersion: %s\n", $2, id, $3
            local = !(crate in checksum)
            print "PackageDownloadLocation: NOASSERTION"
            print "FilesAnalyzed: false"
            if (!local) print "PackageChecksum: SHA256: " checksum[crate]
            print "PackageLicenseConcluded: NOASSERTION"
            print "PackageLicenseDeclared: " (licence ? licence : "NOASSERTION")
            print "PackageCopyrightText: NOASSERTION"
            if (!local) print "ExternalRef: PACKAGE-MANAGER purl pkg:cargo/" $2 "@" $3
        }
        if ($2 == program) {
            root[program] = id
            relations = relations "Relationship: SPDXRef-DOCUMENT DESCRIBES " id "\n"
        } else {
            relations = relations "Relationship: " id " DEPENDENCY_OF @" program "@\n"
        }
    }
    END {
        for (program in root) gsub("@" program "@", root[program], relations)
        printf "\n%s", relations
    }' Cargo.lock -
