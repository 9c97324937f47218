import fc from 'fast-check';

import type { AppConfig } from './app-config.js';
import { configWarnings } from './config-warnings.js';
import { ConfigurationError } from './configuration-error.js';
import { VARIABLE_NAMES } from './environment-variables.js';
import type { HostFacts } from './host-facts.js';
import { loadConfig } from './load-config.js';

const facts: HostFacts = {
  hostName: 'laptop',
  addresses: ['192.0.2.7'],
  platform: { os: 'linux', architecture: 'amd64' },
  homeDirectory: '/home/me',
  workingDirectory: '/here',
  searchDomains: [],
};
const pod = { KUBERNETES_SERVICE_HOST: '10.0.0.1', NODE_NAME: 'node-1', POD_IP: '10.0.0.7' };

function load(env: NodeJS.ProcessEnv = {}, changed: Partial<HostFacts> = {}): AppConfig {
  return loadConfig(env, { ...facts, ...changed });
}

function problemsOf(env: NodeJS.ProcessEnv, changed: Partial<HostFacts> = {}): ConfigurationError {
  try {
    load(env, changed);
  } catch (error) {
    if (error instanceof ConfigurationError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

describe('loadConfig', () => {
  it('has the defaults of the settings table outside a cluster', () => {
    expect(load()).toEqual({
      inCluster: false,
      nodeName: 'laptop',
      platform: facts.platform,
      podIp: '127.0.0.1',
      host: '127.0.0.1',
      port: 8080,
      mirrorPort: 5051,
      imageListPath: '/etc/preheater/images.list',
      intervalMs: 60_000,
      preheatConcurrency: 1,
      pullingTimeoutMs: 300_000,
      mountDir: '/etc/preheater',
      tagTtlMs: 86_400_000,
      kubernetes: {
        namespace: 'default',
        lockConfigMap: 'image-preheat-lock',
        keySecret: 'image-preheat-key',
      },
      lock: { backend: 'memory', timeoutMs: 300_000 },
      peers: {
        discovery: 'static',
        serviceName: 'image-preheat-peers.default.svc.cluster.local',
        static: [],
        intervalMs: 30_000,
      },
      access: { peerAuth: 'none', readAuth: false, allowedRegistries: [], secretsFrom: 'files' },
      limits: {
        downloadConcurrency: 4,
        downloadRateBytesPerSecond: 524_288_000,
        receiveRateBytesPerSecond: 0,
        apiRequestsPerSecond: 50,
      },
      runtime: {
        directory: '/var/lib/image-preheat/runtime',
        restoreRepoDigests: 'auto',
        dockerHost: 'unix:///var/run/docker.sock',
        dockerTlsVerify: false,
        containerdSockets: ['/run/containerd/containerd.sock', '/run/k3s/containerd/containerd.sock'],
        containerdNamespace: 'k8s.io',
        pinImages: false,
      },
      store: { directory: '/var/lib/image-preheat', minFree: { fraction: 0.2 } },
      registry: {
        credentialsFile: '/home/me/.docker/config.json',
        certsDir: '/etc/docker/certs.d',
        insecure: [],
        proxy: { noProxy: [] },
      },
      logLevel: 'info',
    } satisfies AppConfig);
  });

  it('has those of a Pod in a cluster', () => {
    const config = load(
      { ...pod, K8S_NAMESPACE: 'preheat' },
      { searchDomains: ['preheat.svc.corp.example', 'svc.corp.example', 'corp.example'] },
    );
    expect(config).toMatchObject({
      inCluster: true,
      nodeName: 'node-1',
      podIp: '10.0.0.7',
      host: '10.0.0.7',
      lock: { backend: 'kubernetes' },
      peers: { discovery: 'dns', serviceName: 'image-preheat-peers.preheat.svc.corp.example' },
      access: { peerAuth: 'key' },
    });
  });

  it('reads every setting', () => {
    const config = load({
      NODE_NAME: 'n1',
      POD_IP: '2001:db8::1',
      HOST: '::',
      PORT: '18080',
      MIRROR_PORT: '15051',
      IMAGE_LIST_PATH: 'images.list',
      INTERVAL: '1m30s',
      PREHEAT_CONCURRENCY: '3',
      PULLING_TIMEOUT: '250ms',
      PULLING_DEADLINE: '1h',
      MOUNT_DIR: '/mnt',
      K8S_NAMESPACE: 'ns',
      K8S_LOCK_CM: 'cm.one',
      K8S_KEY_SECRET: 'secret',
      TAG_TTL: '720h',
      K8S_LOCK_TIMEOUT: '10s',
      LOCK_BACKEND: 'file',
      LOCK_FILE: '/tmp/lock',
      PEER_DISCOVERY: 'static',
      PEER_DISCOVERY_SERVICE_NAME: 'peers.example.',
      PEERS: 'a.example:1, [2001:db8::2]:65535,192.0.2.1:80,',
      PEER_DISCOVERY_INTERVAL: '5s',
      PEER_AUTH: 'key',
      PEER_KEY_FILE: '/key',
      API_TOKEN_FILE: '/token',
      READ_AUTH: 'true',
      ALLOWED_REGISTRIES: 'ghcr.io,index.docker.io,[::1]:5000',
      DOWNLOAD_API_CONCURRENCY: '2',
      DOWNLOAD_RATE_LIMIT: '20MiB',
      RECEIVE_RATE_LIMIT: '1.5GB',
      API_RATE_LIMIT: '0',
      RUNTIME: 'directory',
      RUNTIME_DIR: '/oci',
      RESTORE_REPO_DIGESTS: 'never',
      DOCKER_HOST: 'tcp://192.0.2.9:2376',
      DOCKER_TLS_VERIFY: '1',
      CONTAINERD_ADDRESS: 'unix:///ctd/sock',
      CONTAINERD_NAMESPACE: 'my.images',
      PIN_IMAGES: 'true',
      STORE_DIR: '/store',
      STORE_MAX_SIZE: '500*1024*1024',
      MIN_FREE_DISK: '2GiB',
      REGISTRY_CONFIG: '/auth.json',
      REGISTRY_CERTS_DIR: '/certs',
      HTTPS_PROXY: 'http://u:p@proxy.example:3128',
      http_proxy: 'proxy.example:3128',
      NO_PROXY: '10.0.0.0/8, .example',
      INSECURE_REGISTRIES: 'reg.example:5000',
      LOG_LEVEL: 'debug',
    });
    expect(config).toEqual({
      inCluster: false,
      nodeName: 'n1',
      platform: facts.platform,
      podIp: '2001:db8::1',
      host: '::',
      port: 18080,
      mirrorPort: 15051,
      imageListPath: '/here/images.list',
      intervalMs: 90_000,
      preheatConcurrency: 3,
      pullingTimeoutMs: 250,
      pullingDeadlineMs: 3_600_000,
      mountDir: '/mnt',
      tagTtlMs: 2_592_000_000,
      kubernetes: { namespace: 'ns', lockConfigMap: 'cm.one', keySecret: 'secret' },
      lock: { backend: 'file', timeoutMs: 10_000, file: '/tmp/lock' },
      peers: {
        discovery: 'static',
        serviceName: 'peers.example.',
        static: [
          { host: 'a.example', port: 1 },
          { host: '2001:db8::2', port: 65535 },
          { host: '192.0.2.1', port: 80 },
        ],
        intervalMs: 5_000,
      },
      access: {
        peerAuth: 'key',
        peerKeyFile: '/key',
        apiTokenFile: '/token',
        secretsFrom: 'files',
        readAuth: true,
        allowedRegistries: ['ghcr.io', 'docker.io', '[::1]:5000'],
      },
      limits: {
        downloadConcurrency: 2,
        downloadRateBytesPerSecond: 20_971_520,
        receiveRateBytesPerSecond: 1_500_000_000,
        apiRequestsPerSecond: 0,
      },
      runtime: {
        kind: 'directory',
        directory: '/oci',
        restoreRepoDigests: 'never',
        dockerHost: 'tcp://192.0.2.9:2376',
        dockerTlsVerify: true,
        dockerCertPath: '/home/me/.docker',
        containerdSockets: ['/ctd/sock'],
        containerdNamespace: 'my.images',
        pinImages: true,
      },
      store: { directory: '/store', maxSizeBytes: 524_288_000, minFree: { bytes: 2_147_483_648 } },
      registry: {
        credentialsFile: '/auth.json',
        certsDir: '/certs',
        insecure: ['reg.example:5000'],
        proxy: {
          httpsProxy: 'http://u:p@proxy.example:3128/',
          httpProxy: 'http://proxy.example:3128/',
          noProxy: ['10.0.0.0/8', '.example'],
        },
      },
      logLevel: 'debug',
    } satisfies AppConfig);
    expect(Object.isFrozen(config) && Object.isFrozen(config.peers.static[0])).toBe(true);
  });

  it('takes an empty variable for one that is not set', () => {
    expect(load(Object.fromEntries(VARIABLE_NAMES.map((name) => [name, ''])))).toEqual(load());
  });

  it('lists every problem in one message: name, value received, what is accepted', () => {
    const error = problemsOf({
      PORT: '99999',
      INTERVAL: 'soon',
      MIN_FREE_DISK: '120%',
      RUNTIME: 'podman',
      LOCK_BACKEND: 'file',
      PEERS: 'node-2',
    });
    expect(error.exitCode).toBe(78);
    expect(error.message.split('\n')).toEqual([
      'The configuration cannot be used (6 problems):',
      '  PORT: received "99999"; accepted: a whole number from 1 to 65535',
      '  INTERVAL: received "soon"; accepted: a duration such as 5m, 1m30s or 250ms, from 100ms to 24 days (576h)',
      '  PEERS: received "node-2"; accepted: host:port,host:port with ports from 1 to 65535; IPv6 as [address]:port',
      '  RUNTIME: received "podman"; accepted: docker, containerd, directory',
      '  MIN_FREE_DISK: received "120%"; accepted: a size such as 10GiB, or a percentage such as 20% below 100%; 0 for no limit',
      '  LOCK_FILE: not set; accepted: the path of the file that the agents of this host share (needed with LOCK_BACKEND=file)',
    ]);
  });

  it('never repeats what may be a secret', () => {
    const { message } = problemsOf({
      HTTPS_PROXY: 'ftp://me:s3cret@proxy',
      DOCKER_HOST: 'ssh://me:s3cret@host',
    });
    expect(message).toContain('HTTPS_PROXY: received a value that is not shown here');
    expect(message).not.toContain('s3cret');
  });

  it.each([
    ['PORT', ['0', '65536', '1e3', '-1', '80 ', '0x50']],
    ['HOST', ['example.com', '1.2.3', '127.0.0.1:80', '*']],
    ['POD_IP', ['0.0.0.0', '::', 'node', '10.0.0.1,10.0.0.2', 'fe80::1%eth0']],
    ['NODE_NAME', ['a b', 'a/b', '-a', 'a\nb']],
    ['INTERVAL', ['0', '5', '-1m', '1ms', '600h', '1m 30s']],
    ['PULLING_TIMEOUT', ['0', 'never']],
    ['PREHEAT_CONCURRENCY', ['0', '65', '1.5', 'NaN']],
    ['DOWNLOAD_RATE_LIMIT', ['fast', '-1', '10 parsecs', '1e9', '9007199254740993']],
    ['MIN_FREE_DISK', ['100%', '-5%', '%']],
    ['K8S_NAMESPACE', ['A', 'a.b', '-a', 'a'.repeat(64)]],
    ['K8S_LOCK_CM', ['a_b', 'a..b', '../x']],
    ['PEER_DISCOVERY', ['endpointslice', 'DNS']],
    ['PEER_DISCOVERY_SERVICE_NAME', ['a b', 'http://x', '-x']],
    ['PEERS', ['a', 'a:0', 'a:65536', '::1:80', '[a]:80', 'http://a:80', 'a:80;b:80', '[fe80::1%eth0]:80']],
    ['PEER_AUTH', ['yes', 'KEY']],
    ['READ_AUTH', ['1', 'yes', 'TRUE']],
    ['ALLOWED_REGISTRIES', ['https://x', 'a/b', 'x:99999', 'a b']],
    ['RUNTIME', ['podman']],
    ['CONTAINERD_ADDRESS', ['containerd.sock', 'tcp://192.0.2.1:1', 'unix://sock']],
    ['CONTAINERD_NAMESPACE', ['a b', '-a', 'a..b', 'a'.repeat(77)]],
    ['PIN_IMAGES', ['1', 'always']],
    ['DOCKER_HOST', ['docker.sock', 'unix://docker.sock', 'ssh://x', 'tcp://']],
    ['HTTPS_PROXY', ['socks5://x:1', 'http://', 'a b']],
    ['LOG_LEVEL', ['verbose', 'INFO']],
    ['IMAGE_LIST_PATH', [' ']],
  ])('rejects a bad %s', (name, values) => {
    for (const value of values) {
      expect(problemsOf({ ...pod, [name]: value }).problems.map((problem) => problem.name)).toEqual([name]);
    }
  });

  it('takes the three files of TLS, or none of them', () => {
    const all = { TLS_CERT_FILE: '/tls.crt', TLS_KEY_FILE: 'tls.key', TLS_CA_FILE: '/ca.crt' };
    expect(load({ ...pod, ...all }).tls).toMatchObject({ certFile: '/tls.crt', caFile: '/ca.crt' });
    expect(load(pod).tls).toBeUndefined();
    for (const [name, value] of Object.entries(all)) {
      const others = Object.keys(all).filter((other) => other !== name);
      expect(problemsOf({ ...pod, [name]: value }).problems.map((problem) => problem.name)).toEqual(others);
    }
  });

  it('never throws anything but a ConfigurationError', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...VARIABLE_NAMES), fc.string()), (env) => {
        try {
          load(env);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigurationError);
        }
      }),
    );
  });

  it('needs NODE_NAME and POD_IP in a cluster', () => {
    expect(problemsOf({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }).problems.map(({ name }) => name)).toEqual([
      'NODE_NAME',
      'POD_IP',
    ]);
  });

  describe('POD_IP outside a cluster', () => {
    const open = { HOST: '0.0.0.0', PEER_AUTH: 'none' };
    it('is HOST when that is one address', () => {
      expect(load({ HOST: '192.0.2.50', PEER_AUTH: 'none' }).podIp).toBe('192.0.2.50');
      expect(load({ HOST: '[::1]' }).podIp).toBe('::1');
      expect(load({ HOST: 'localhost' }).podIp).toBe('127.0.0.1');
    });
    it('is the only address when HOST is all of them', () => expect(load(open).podIp).toBe('192.0.2.7'));
    it('is asked for, with a list, when there are several', () => {
      expect(problemsOf(open, { addresses: ['192.0.2.7', '2001:db8::7'] }).message).toContain(
        'POD_IP: not set; accepted: the one address that peers reach this agent at: 192.0.2.7, 2001:db8::7',
      );
    });
    it('is asked for when there is none', () => {
      expect(problemsOf(open, { addresses: [] }).message).toContain('none beside loopback');
    });
  });

  describe('PEER_AUTH outside a cluster', () => {
    it('is key where there is a key file', () => {
      expect(load({ PEER_KEY_FILE: '/key', HOST: '0.0.0.0' }).access.peerAuth).toBe('key');
    });
    it('must be chosen when others can reach the API', () => {
      const { problems } = problemsOf({ HOST: '0.0.0.0' });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatchObject({ name: 'PEER_AUTH' });
      for (const choice of ['PEER_KEY_FILE', '"none"', 'HOST=127.0.0.1'])
        expect(problems[0]!.accepted).toContain(choice);
    });
    it('needs a key file with key, unless Kubernetes has the key', () => {
      expect(problemsOf({ PEER_AUTH: 'key' }).problems[0]!.name).toBe('PEER_KEY_FILE');
      const config = load({ PEER_AUTH: 'key', LOCK_BACKEND: 'kubernetes', KUBECONFIG: '/kc' });
      expect(config.kubernetes.kubeconfig).toBe('/kc');
      expect(config.access.secretsFrom).toBe('kubernetes');
    });
  });

  describe('one secret in a file', () => {
    const kubernetes = { LOCK_BACKEND: 'kubernetes', KUBECONFIG: '/kc', PEER_AUTH: 'key' };

    it.each([
      ['in a cluster', pod],
      ['with a lock in Kubernetes', kubernetes],
    ])('leaves the Secret alone, and the peer key must be a file, too, %s', (_where, environment) => {
      const { problems } = problemsOf({ ...environment, API_TOKEN_FILE: '/token' });
      expect(problems.map(({ name }) => name)).toEqual(['PEER_KEY_FILE']);
      const both = { ...environment, API_TOKEN_FILE: '/token', PEER_KEY_FILE: '/key' };
      expect(load(both).access.secretsFrom).toBe('files');
      expect(load({ ...environment, API_TOKEN_FILE: '/token', PEER_AUTH: 'none' }).access.peerAuth).toBe(
        'none',
      );
    });

    it('does without an API token where reading needs none', () => {
      expect(load({ ...pod, PEER_KEY_FILE: '/key' }).access.secretsFrom).toBe('files');
      const { problems } = problemsOf({ ...pod, PEER_KEY_FILE: '/key', READ_AUTH: 'true' });
      expect(problems.map(({ name }) => name)).toEqual(['API_TOKEN_FILE']);
    });
  });

  it('refuses one port for API and mirror where both are on loopback', () => {
    expect(problemsOf({ PORT: '5051' }).problems[0]!.name).toBe('MIRROR_PORT');
    expect(load({ ...pod, PORT: '5051' }).port).toBe(5051);
  });
});

describe('configWarnings', () => {
  const warningsOf = (env: NodeJS.ProcessEnv): string[] => configWarnings(env, load(env));

  it('names what looks like a typo of ours, and nothing else', () => {
    const typos = { PULING_TIMEOUT: '1m', image_list_path: '/x', K8S_LOCK_CN: 'x', PREHEAT_CONCURENCY: '1' };
    const innocent = {
      HOME: '/',
      POST: '1',
      PATH: '/bin',
      K8S_NAMESPACE: 'x',
      https_proxy: 'a:1',
      CONTAINER_NAME: 'x',
    };
    const warnings = warningsOf({ ...typos, ...innocent, PEER_KEY_FILE: '/key' });
    expect(warnings).toHaveLength(4);
    expect(warnings[0]).toBe('PULING_TIMEOUT is not a setting and is ignored; did you mean PULLING_TIMEOUT?');
  });

  it('says what PEER_AUTH=none means', () => {
    expect(warningsOf({ PIN_IMAGES: 'true' })).toEqual([
      'PEER_AUTH=none: every local process may download the images of this node',
    ]);
  });

  it('says that a lock in memory is not shared', () => {
    expect(warningsOf({ PEERS: 'a:1', PEER_KEY_FILE: '/key' })[0]).toContain('LOCK_BACKEND=memory');
  });
});
