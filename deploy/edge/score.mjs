// Scores the golden rows by the graph and compares; all that it needs is `npm ci`.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ort from "onnxruntime-node";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const [schema, golden] = ["schema.json", "golden.json"].map((name) => JSON.parse(readFileSync(path(name), "utf8")));
const session = await ort.InferenceSession.create(path("model.onnx"));

const feed = ({ name, type }, rows) =>
  type === "string"
    ? new ort.Tensor("string", rows.map((row) => row[name] ?? ""), [rows.length])
    : new ort.Tensor("float32", Float32Array.from(rows, (row) => Number(row[name] ?? NaN)), [rows.length]);

const feeds = Object.fromEntries(schema.inputs.map((each) => [each.name, feed(each, golden.rows)]));
const scores = (await session.run(feeds))[schema.output.name].data;
const difference = Math.max(...golden.expected.map((expected, row) => Math.abs(scores[row] - expected)));
const alerts = scores.filter((score) => score >= schema.threshold).length;
console.log(`${scores.length} rows, ${alerts} alerts, at most ${difference.toExponential(1)} away`);
if (!(difference <= golden.tolerance)) throw new Error(`more than ${golden.tolerance}: this is not the graph that was exported`);
