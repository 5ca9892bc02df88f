import { defineCommand } from "../command.ts";
import { filter, filterQuery } from "../flags/filter.ts";
import { bool, custom, text } from "../flags/spec.ts";
import { formatList } from "../output/list_format.ts";
import { ellipsis } from "../output/names.ts";
import { registryAuthHeaders } from "../registry/auth_header.ts";
import { print } from "../stdio.ts";

interface SearchResult {
  name: string;
  description?: string;
  star_count?: number;
  is_official?: boolean;
}

const HEADERS = { Name: "NAME", Description: "DESCRIPTION", StarCount: "STARS", IsOfficial: "OFFICIAL" };

/** Columns that a description gets. */
const DESCRIPTION_WIDTH = 45;

export const command = defineCommand({
  flags: {
    "filter": filter("Filter output based on conditions provided", { short: "f" }),
    "format": text("Pretty-print search using a Go template"),
    "limit": custom("Max number of search results", {
      label: "int",
      initial: 0,
      parse: (value) => {
        if (!/^[+-]?\d+$/.test(value)) {
          throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
        }
        return Number(value);
      },
    }),
    "no-trunc": bool("Don't truncate output"),
  },
  usage: "TERM",
  count: { min: 1, max: 1 },
  async run({ flags, args: [term = ""], client }) {
    const results = await client.json<SearchResult[] | null>("GET", "/images/search", {
      query: { term, limit: flags.limit || undefined, filters: filterQuery(flags.filter) },
      headers: await registryAuthHeaders(term),
    });
    print(
      await formatList({
        items: results ?? [],
        row: ({ name, description = "", star_count = 0, is_official = false }) => ({
          Name: () => name,
          Description: () => {
            const line = description.replaceAll(/[\n\r]/g, " ");
            return flags["no-trunc"] ? line : ellipsis(line, DESCRIPTION_WIDTH);
          },
          StarCount: () => String(star_count),
          IsOfficial: () => is_official ? "[OK]" : "",
        }),
        type: "*registry.searchContext",
        headers: HEADERS,
        columns: Object.keys(HEADERS),
        format: flags.format,
        quiet: undefined,
      }),
    );
  },
});
