// The card on Airflow's dashboard: each model at a glance. It is made of what Airflow itself has loaded (React, its router and
// Chakra UI), so it follows the theme and needs no build step.
const { createElement: h, useEffect, useState } = globalThis.React;
const { Badge, Box, Flex, Heading, SimpleGrid, Text } = globalThis.ChakraUI;
const { Link } = globalThis.ReactRouterDOM;

const SOURCE = new URL("dashboard.json", import.meta.url);
const EVERY = 60_000;
const COLOURS = { good: "green", warn: "orange", bad: "red", quiet: "gray" };

const Figure = ({ about, name, tone, value }) =>
  h(
    Box,
    { minWidth: 0 },
    h(Text, { color: "fg.muted", fontSize: "sm" }, name),
    tone
      ? h(Badge, { colorPalette: COLOURS[tone], size: "md" }, value)
      : h(Text, { fontWeight: "semibold", overflowWrap: "anywhere" }, value),
    h(Text, { color: "fg.muted", fontSize: "sm", overflowWrap: "anywhere" }, about),
  );

const Card = ({ model }) =>
  h(
    Box,
    { borderRadius: 8, borderWidth: 1, "data-testid": "perennial-card", p: 4 },
    h(
      Flex,
      { alignItems: "baseline", gap: 3, justifyContent: "space-between", mb: 3, wrap: "wrap" },
      h(Heading, { as: "h3", overflowWrap: "anywhere", size: "md" }, model.name),
      h(Link, { to: `/dags/${encodeURIComponent(model.dag_id)}/plugin/perennial-dag` }, h(Text, { as: "span", color: "fg.info" }, "The model's story")),
    ),
    h(
      SimpleGrid,
      { columns: { base: 2, lg: 6, md: 3 }, gap: 4 },
      model.figures.map((figure) => h(Figure, { key: figure.name, ...figure })),
    ),
  );

const Dashboard = () => {
  const [told, setTold] = useState({ models: [], problem: "" });
  useEffect(() => {
    let shown = true;
    const ask = async () => {
      try {
        const answer = await fetch(SOURCE);
        if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
        const models = await answer.json();
        if (shown) setTold({ models, problem: "" });
      } catch (error) {
        if (shown) setTold((before) => ({ ...before, problem: `The models cannot be read: ${error.message}` }));
      }
    };
    ask();
    const timer = setInterval(ask, EVERY);
    return () => {
      shown = false;
      clearInterval(timer);
    };
  }, []);
  if (!told.problem && told.models.length === 0) return null;
  return h(
    Box,
    { as: "section", "aria-label": "Models", mb: 4 },
    h(Heading, { as: "h2", mb: 2, size: "md" }, "Models"),
    told.problem ? h(Text, { color: "fg.error" }, told.problem) : null,
    h(Flex, { direction: "column", gap: 3 }, told.models.map((model) => h(Card, { key: model.name, model }))),
  );
};

globalThis.AirflowPlugin = Dashboard;
