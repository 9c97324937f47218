import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { dumpYaml, loadYaml } from '@kubernetes/client-node';

import { describeWith } from '../support/engines.js';
import { describeWithKubectl, findManifest, render } from '../support/kubectl.js';
import { type ExposedMetrics, exposedMetrics } from '../support/exposed-metrics.js';
import { readMonitoring, type Monitoring } from '../support/monitoring.js';
import { readPromql } from '../support/promql.js';

const ALERT_TESTS = join(__dirname, 'alerts');
const K8S = resolve(__dirname, '../../k8s');
/** What Prometheus itself knows, and what it puts on all that it scrapes. */
const SYNTHETIC = 'up';
const TARGET_LABELS = ['job', 'node'];

interface AlertTests {
  readonly tests: readonly {
    readonly alert_rule_test: readonly {
      readonly alertname: string;
      readonly exp_alerts?: readonly unknown[];
    }[];
  }[];
}

describeWithKubectl('k8s/overlays/monitoring', () => {
  let monitoring: Monitoring;
  let exposed: ExposedMetrics;

  beforeAll(async () => {
    monitoring = await readMonitoring();
    exposed = await exposedMetrics();
  });

  it('reads only what an agent exposes: metrics, labels, and values of labels', () => {
    const { rules, queries } = monitoring;
    for (const { record } of rules) if (record) exposed.addRecorded(record);
    const wrong = [...rules.map(({ expr }) => expr), ...queries].flatMap((expression) => {
      const { selectors, groupingLabels } = readPromql(expression);
      expect(selectors).not.toEqual([]);
      const read = selectors.filter(({ metric }) => metric !== SYNTHETIC);
      const grouped = read.flatMap(({ metric }) => exposed.labels(metric) ?? []);
      return [
        ...read.flatMap((selector) => exposed.faults(selector, TARGET_LABELS)),
        ...groupingLabels
          .filter((label) => ![...grouped, ...TARGET_LABELS, ...labelsMadeBy(expression)].includes(label))
          .map((label) => `nothing in ${expression} has a label ${label}`),
      ];
    });
    expect(wrong).toEqual([]);
  });

  it('finds the agents by their Service, and names them as the alerts and the dashboard do', async () => {
    const { spec } = monitoring.serviceMonitor;
    const service = findManifest(await render(K8S), 'Service');
    expect(service.metadata?.labels).toMatchObject(spec.selector.matchLabels);
    expect(service.spec?.publishNotReadyAddresses).toBe(true);
    const [endpoint, ...more] = spec.endpoints;
    expect(more).toEqual([]);
    expect(service.spec?.ports?.map(({ name }) => name)).toContain(endpoint?.port);
    expect(endpoint).toMatchObject({ path: '/metrics', honorLabels: true });
    expect(endpoint?.relabelings.map(({ targetLabel }) => targetLabel)).toEqual(['node']);
    const job = service.metadata?.labels?.[spec.jobLabel];
    const all = [...monitoring.rules.map(({ expr }) => expr), ...monitoring.queries].join('\n');
    expect(new Set(all.match(/job="[^"]*"/g))).toEqual(new Set([`job="${job}"`]));
  });

  it('says with each alert how urgent it is, what is wrong, with which value, and what to do', () => {
    const alerts = monitoring.rules.filter(({ alert }) => alert !== undefined);
    for (const { alert, labels, annotations } of alerts) {
      expect(alert).toMatch(/^ImagePreheat/);
      expect(['critical', 'warning', 'info']).toContain(labels?.['severity']);
      expect(annotations?.['summary']?.length).toBeLessThan(120);
      expect(annotations?.['description']?.length).toBeGreaterThan(100);
      // An absence has no value of its own.
      if (alert !== 'ImagePreheatNoAgentReports') expect(annotations?.['description']).toContain('{{ $value');
    }
    expect(alerts.length).toBeGreaterThan(10);
  });

  it('is in the README, alert by alert', () => {
    const readme = readFileSync(join(K8S, '../README.md'), 'utf8');
    const rows = readme.split('\n').filter((line) => line.startsWith('| `ImagePreheat'));
    const listed = rows.flatMap((row) => {
      const [, names = '', severity = ''] = row.split('|').map((cell) => cell.trim());
      return names.split(', ').map((name) => `${name.replaceAll('`', '')} ${severity}`);
    });
    const ours = monitoring.rules.flatMap(({ alert, labels }) =>
      alert ? `${alert} ${labels?.['severity']}` : [],
    );
    expect(listed.toSorted()).toEqual(ours.toSorted());
  });

  it('puts the panels of the dashboard side by side, each with a title, a description and a query', () => {
    const { panels } = monitoring.dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Set<string>();
    for (const { gridPos, title, type, description, targets = [] } of panels) {
      expect(title).not.toBe('');
      if (type !== 'row') expect([description, targets]).not.toEqual([undefined, []]);
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken).not.toContain(`${x} ${y}`);
          taken.add(`${x} ${y}`);
        }
    }
  });

  describeWith('promtool', 'with promtool', () => {
    let directory: string;

    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), 'preheat-alerts-'));
      writeFileSync(join(directory, 'rules.yaml'), dumpYaml({ groups: monitoring.groups }));
    });
    afterAll(() => rmSync(directory, { recursive: true }));

    const promtool = (...args: string[]): { status: number | null; output: string } => {
      const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: directory, encoding: 'utf8' });
      return { status, output: stdout + stderr };
    };

    it('has rules that are valid, and queries too', () => {
      const rules = monitoring.queries.map((query, number) => ({
        record: `query:${number}`,
        expr: query.replaceAll('$__rate_interval', '5m'),
      }));
      writeFileSync(join(directory, 'queries.yaml'), dumpYaml({ groups: [{ name: 'queries', rules }] }));
      const { status, output } = promtool('check', 'rules', 'rules.yaml', 'queries.yaml');
      expect(status === 0 ? '' : output).toBe('');
    });

    it.each(readdirSync(ALERT_TESTS))('fires when it should, and says what it should: %s', (file) => {
      writeFileSync(join(directory, file), readFileSync(join(ALERT_TESTS, file)));
      const { status, output } = promtool('test', 'rules', file);
      expect(status === 0 ? '' : output).toBe('');
    });

    it('has tests in which an alert fires, and in which it does not, for each', () => {
      const tests = readdirSync(ALERT_TESTS)
        .map((file) => loadYaml<AlertTests>(readFileSync(join(ALERT_TESTS, file), 'utf8')))
        .flatMap((suite) => suite.tests.flatMap((test) => test.alert_rule_test));
      const named = (fires: boolean): string[] => [
        ...new Set(
          tests.filter(({ exp_alerts = [] }) => exp_alerts.length > 0 === fires).map((it) => it.alertname),
        ),
      ];
      const alerts = monitoring.rules.flatMap(({ alert }) => alert ?? []).toSorted();
      expect(named(true).toSorted()).toEqual(alerts);
      expect(named(false).toSorted()).toEqual(alerts);
    });
  });
});

/** Destinations of `label_replace`. */
function labelsMadeBy(expression: string): string[] {
  return [...expression.matchAll(/label_replace\([^]*?,\s*"(\w+)"/g)].flatMap(([, label = '']) => label);
}
