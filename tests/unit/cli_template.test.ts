import { describe, expect, test } from "vitest";
import { Template } from "../../cli/template/execute.ts";
import { asGoTypes } from "../../cli/template/go_types.ts";

const render = (template: string, data: unknown): string => new Template(template).render(data);

const CONTAINER = asGoTypes({
  Id: "abc",
  Name: "/web",
  State: { Status: "running", Running: true, Pid: 42, ExitCode: 0 },
  Config: { Env: ["A=1", "B=2"], Cmd: null, Labels: { "com.x": "y", a: "b" }, Tty: false },
  HostConfig: { Memory: 1073741824, Binds: null, LogConfig: { Type: "json-file", Config: {} } },
  Mounts: [{ Source: "/s", Destination: "/d" }],
  NetworkSettings: { Networks: { bridge: { IPAddress: "172.17.0.2" } }, Ports: { "80/tcp": null } },
});

describe("Template.render()", () => {
  test.each<[string, string]>([
    ["plain", "plain"],
    ["{{.Id}}", "abc"],
    ["{{ .State.Status }}!", "running!"],
    ["{{.State.Pid}} {{.HostConfig.Memory}}", "42 1073741824"],
    ["{{json .State}}", '{"Status":"running","Running":true,"Pid":42,"ExitCode":0}'],
    ["{{json .Config.Cmd}} {{.Config.Cmd}}", "null []"],
    ["{{.Config.Labels}}", "map[a:b com.x:y]"],
    ["{{.Config.Env}}", "[A=1 B=2]"],
    ["{{json .Config.Labels}}", '{"a":"b","com.x":"y"}'],
    ['{{index .Config.Labels "com.x"}}', "y"],
    ['{{index .Config.Labels "missing"}}|', "|"],
    ["{{index .Config.Env 1}}", "B=2"],
    ["{{.Config.Labels.nosuch}}", "<no value>"],
    ["{{range .Config.Env}}[{{.}}]{{end}}", "[A=1][B=2]"],
    ["{{range $i, $e := .Config.Env}}{{$i}}:{{$e}} {{end}}", "0:A=1 1:B=2 "],
    ["{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}", "bridge=172.17.0.2"],
    ["{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"],
    ["{{(index .Mounts 0).Source}}", "/s"],
    ['{{(index (index .NetworkSettings.Networks "bridge") "IPAddress")}}', "172.17.0.2"],
    ["{{range .HostConfig.Binds}}x{{else}}none{{end}}", "none"],
    ["{{if .State.Running}}up{{else}}down{{end}}", "up"],
    ["{{if .State.Health}}{{.State.Health.Status}}{{else}}no check{{end}}", "no check"],
    ['{{if eq .State.Status "exited" "running"}}yes{{end}}', "yes"],
    ["{{if and .State.Running (not .Config.Tty)}}a{{else if .Id}}b{{end}}", "a"],
    ["{{if or .Config.Tty (gt .State.Pid 100)}}a{{else if .Id}}b{{end}}", "b"],
    ["{{with .State}}{{.Pid}} {{$.Id}}{{end}}", "42 abc"],
    ["{{with $p := .State.Pid}}{{$p}}{{end}}", "42"],
    ["{{with .Config.Cmd}}x{{else}}y{{end}}", "y"],
    ["{{$x := .Id}}{{$x}}{{$x = .Name}}{{$x}}", "abc/web"],
    ["{{len .Config.Env}} {{len .Config.Labels}} {{len .Id}}", "2 2 3"],
    ['{{join .Config.Env ", "}}', "A=1, B=2"],
    ['{{range split "a,b" ","}}<{{.}}>{{end}}', "<a><b>"],
    ["{{upper .Id}} {{lower `ABC`}} {{title .State.Status}}", "ABC abc Running"],
    [
      '{{printf "%-5s|%5d|%q|%v|%t|%.2f" .Id .State.Pid .Id .Config.Env .State.Running 1.5}}',
      'abc  |   42|"abc"|[A=1 B=2]|true|1.50',
    ],
    ['{{.Id | printf "%s-%s" "x" | upper}}', "X-ABC"],
    ['{{println "a" 1}}{{print "a" "b" 1 2}}', "a 1\nab1 2"],
    ["{{slice .Id 1 2}} {{truncate .Id 2}}", "b ab"],
    ["a {{- .Id -}} b", "aabcb"],
    ["a{{/* nothing */}}b", "ab"],
    ["{{range .Config.Env}}{{if eq . `B=2`}}{{break}}{{end}}{{.}}{{end}}", "A=1"],
    ["{{range .Config.Env}}{{if eq . `A=1`}}{{continue}}{{end}}{{.}}{{end}}", "B=2"],
    ['{{"tab\\there"}}', "tab\there"],
    ["{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{ge 1 2}}", "true true true false"],
    ["{{html `<a&b>`}}", "&lt;a&amp;b&gt;"],
    ["{{json `<a>`}}", '"<a>"'],
    ["{{.HostConfig.Init}} {{.State.Health}}", "<nil> <nil>"],
  ])("%s", (template, expected) => {
    expect(render(template, CONTAINER)).toBe(expected);
  });

  test("calls methods, with and without arguments", () => {
    const labels: Record<string, string> = { a: "1" };
    const data = { Label: (name: string) => labels[name] ?? "", Name: () => "n" };
    expect(render('{{.Label "a"}}{{.Label "b"}}{{.Name}}', data)).toBe("1n");
    expect(render('{{"a" | .Label | printf "%s!"}}', data)).toBe("1!");
  });

  test.each([
    ["{{.Nope}}", 'template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"'],
    ["{{.Id.Nope}}", "can't evaluate field Nope in type string"],
    ["{{.State.Health.Status}}", 'nil data; no entry for key "Status"'],
    ["{{index .Config.Env 5}}", "slice index out of range"],
    ["{{lt 1 `a`}}", "incompatible types for comparison"],
  ])("throws for %s", (template, message) => {
    expect(() => render(template, CONTAINER)).toThrow(message);
  });

  test.each([
    ["{{.Id", "unclosed action"],
    ["{{if .Id}}x", "unexpected EOF"],
    ["{{end}}", "unexpected {{end}}"],
    ["{{nosuch .Id}}", 'function "nosuch" not defined'],
    ["{{$x}}", 'undefined variable "$x"'],
    ["{{}}", "missing value for command"],
    ["{{.Id |}}", "missing value after |"],
    ["{{(.Id}}", "unclosed left paren"],
    ['{{"a}}', "unterminated quoted string"],
    ["{{define `x`}}{{end}}", "not supported"],
  ])("refuses %s", (template, message) => {
    expect(() => render(template, CONTAINER)).toThrow(message);
  });
});
