/** Help of `--format`, the same in every command that has it. */

const REFERENCE =
  `Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates`;

/** For commands that print one object. */
export const FORMAT_HELP = `Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
${REFERENCE}`;

/** For commands that print a table. */
export const LIST_FORMAT_HELP = `Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
${REFERENCE}`;
