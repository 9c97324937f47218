import js from '@eslint/js';
import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/**
 * The folders each folder of `src/` may import from (beside itself): the arrows of the architecture,
 * images, health → preheat → {image-list, transfer, lock, runtime, mirror} → {peers, registry, store} → domain.
 */
const base = ['domain', 'common'];
const infrastructure = [...base, 'config', 'metrics'];
const sources = ['peers', 'registry', 'store'];
const work = ['image-list', 'transfer', 'lock', 'runtime', 'mirror'];
const allowed = {
  domain: [],
  common: ['domain'],
  config: base,
  metrics: infrastructure,
  http: infrastructure,
  kubernetes: infrastructure,
  store: infrastructure,
  registry: infrastructure,
  peers: [...infrastructure, 'kubernetes', 'store'],
  'image-list': infrastructure,
  lock: [...infrastructure, 'kubernetes', 'peers', 'store'],
  transfer: [...infrastructure, ...sources, 'lock'],
  mirror: [...infrastructure, 'peers', 'store'],
  runtime: [...infrastructure],
  preheat: [...infrastructure, ...sources, ...work],
  images: [...infrastructure, ...sources, ...work, 'preheat'],
  health: [...infrastructure, ...sources, ...work, 'preheat'],
  demo: base,
};
const folders = Object.keys(allowed);
const zones = folders.map((folder) => ({
  target: `./src/${folder}`,
  from: folders
    .filter((other) => other !== folder && !allowed[folder].includes(other))
    .map((other) => `./src/${other}`),
  message: `src/${folder} may import only: ${allowed[folder].join(', ') || 'nothing'}.`,
}));
/** Adapters are named by their feature's own module alone; everyone else sees the port. */
const adapters = [
  'runtime/docker',
  'runtime/containerd',
  'runtime/directory',
  'lock/kubernetes',
  'lock/file',
  'lock/memory',
  'peers/dns',
  'peers/static',
];
const featureOf = (adapter) => adapter.split('/')[0];
const portsOnly = (folders) => ({
  target: './src',
  from: folders.map((folder) => `./src/${folder}`),
  message: "Name the port; only the feature's own module names an adapter.",
});

export default tseslint.config(
  { ignores: ['dist', 'build', 'node_modules', 'coverage'] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['.eslint.config.mjs'] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver-next': [createTypeScriptImportResolver({ project: './tsconfig.json' })] },
    rules: {
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      'import-x/no-restricted-paths': ['error', { zones }],
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'Only src/config and main.ts read the environment.' },
        { object: 'process', property: 'exit', message: 'Set process.exitCode and let the process drain.' },
      ],
      // Nest's DTOs and options are classes for the sake of their metadata; object literals are how they are made.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      eqeqeq: 'error',
    },
  },
  {
    files: ['src/domain/**/*.ts'],
    ignores: ['**/*.spec.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: ['@nestjs/*', 'node:fs*', 'node:net', 'node:http*', 'node:child_process'] },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/kubernetes/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: [
            { name: '@kubernetes/client-node', message: 'Only src/kubernetes talks to the API server.' },
          ],
        },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['**/*.spec.ts', ...adapters.map((folder) => `src/${folder}/**`)],
    rules: { 'import-x/no-restricted-paths': ['error', { zones: [...zones, portsOnly(adapters)] }] },
  },
  ...[...new Set(adapters.map(featureOf))].map((feature) => ({
    files: [`src/${feature}/*.module.ts`],
    rules: {
      'import-x/no-restricted-paths': [
        'error',
        { zones: [...zones, portsOnly(adapters.filter((folder) => featureOf(folder) !== feature))] },
      ],
    },
  })),
  {
    files: ['src/config/**/*.ts', 'src/main.ts', 'src/demo/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    rules: { 'no-restricted-properties': 'off' },
  },
  { files: ['**/*.module.ts'], rules: { '@typescript-eslint/no-extraneous-class': 'off' } },
  {
    files: ['**/*.spec.ts', 'test/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/unbound-method': 'off' },
  },
  { files: ['**/*.mjs'], ...tseslint.configs.disableTypeChecked },
);
