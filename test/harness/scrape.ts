import assert from "node:assert/strict";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Scraped {
  /** Of each family: counter, gauge, histogram. */
  readonly types: ReadonlyMap<string, string>;
  readonly samples: Sample[];
}

export function find(samples: readonly Sample[], name: string, labels: Record<string, string>): number | undefined {
  return samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )?.value;
}

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.eE+-]+|[+-]Inf|NaN)(?: \d+)?$/;
const label = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/** Reads `/metrics` as strictly as its format is. */
export async function scrape(from: { readonly httpAddress: string }): Promise<Sample[]> {
  return (await scrapeFamilies(from)).samples;
}

/** The same, with the type of each family. */
export async function scrapeFamilies({ httpAddress }: { readonly httpAddress: string }): Promise<Scraped> {
  const response = await fetch(`${httpAddress}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain/);
  const text = await response.text();
  assert.ok(text.endsWith("\n"));
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  for (const row of text.trimEnd().split("\n")) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(row);
    if (type !== null) {
      assert.ok(!types.has(type[1]!), `${type[1]} is declared once`);
      types.set(type[1]!, type[2]!);
    } else if (!row.startsWith("# HELP ")) {
      const [, name, labelText = "", value] = line.exec(row) ?? assert.fail(`no sample: ${row}`);
      samples.push({
        name: name!,
        labels: readLabels(labelText, row),
        value: Number(value!.replace("Inf", "Infinity")),
      });
    }
  }
  for (const { name, value } of samples) {
    const family = types.has(name) ? name : name.replace(/_(bucket|count|sum)$/, "");
    assert.ok(types.has(family), `${name} has a type`);
    if (types.get(family) === "counter") assert.ok(name.endsWith("_total") && value >= 0, name);
  }
  const series = ({ name, labels }: Sample): string => {
    const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    return [name, ...pairs.toSorted()].join("\n");
  };
  assert.equal(new Set(samples.map(series)).size, samples.length, "no series is told twice");
  return { types, samples };
}

function readLabels(text: string, row: string): Record<string, string> {
  const labels: Record<string, string> = {};
  label.lastIndex = 0;
  while (label.lastIndex < text.length) {
    const [, key, value] = label.exec(text) ?? assert.fail(`labels that cannot be read: ${row}`);
    assert.ok(!((key ?? "") in labels), `${key} is given once: ${row}`);
    labels[key!] = value!;
  }
  return labels;
}
