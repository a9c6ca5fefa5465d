#!/bin/sh
# Builds a site from the Markdown files with mdBook, and checks its links: `make docs`.
#
#   docs/site.sh MDBOOK OUTPUT
set -eu

cd "$(dirname "$0")/.."
mdbook=$1
output=$2

# The pages keep their paths, so that links between them and to other files of the repository work. Of
# those other files, the site has the ones that a page links to.
rm -rf "$output/src" "$output/book"
mkdir -p "$output/src"
pages="README.md CHANGELOG.md CONTRIBUTING.md $(git ls-files 'docs/*.md')"
for page in $pages; do
    links=$(sed -n 's/](\([^)#]*\)/\n]\1\n/gp' "$page" | sed -n 's/^]//p' | grep -v -e '^https:' -e '\.md$' || true)
    for file in "$page" $(printf '%s\n' "$links" | sed "s#^#$(dirname "$page")/#"); do
        file=$(realpath --relative-to=. "$file")
        [ -f "$file" ] || continue
        mkdir -p "$output/src/$(dirname "$file")"
        cp "$file" "$output/src/$file"
    done
done
# The index is in docs/, and mdBook reads it in the directory of the pages.
sed -e 's#](\.\./#](#' -e t -e 's#](#](docs/#' docs/SUMMARY.md >"$output/src/SUMMARY.md"
cp docs/book.toml "$output/"
"$mdbook" build "$output"

# A link that does not start with a scheme leads to a file of the site, and its fragment to an element.
broken=0
cd "$output/book"
for page in $(find . -name '*.html' ! -name 'print.html' ! -name 'toc.html' ! -name '404.html'); do
    for link in $(grep -o '<a [^>]*href="[^"]*"' "$page" | sed 's/.*href="//; s/"$//' | sort -u); do
        case $link in *:*) continue ;; esac
        file=${link%%#*}
        target=$(dirname "$page")/${file:-$(basename "$page")}
        case $link in *'#'?*) fragment=${link#*#} ;; *) fragment= ;; esac
        if ! [ -e "$target" ]; then
            echo "$page: $link: no such file" >&2
        elif [ -n "$fragment" ] && ! grep -q "id=\"$fragment\"" "$target"; then
            echo "$page: $link: no such heading" >&2
        else
            continue
        fi
        broken=$((broken + 1))
    done
done
[ $broken = 0 ] || { echo "$broken broken links" >&2; exit 1; }
echo "$PWD/index.html: all links are valid"
