/** Told of every byte of a blob that a registry has sent us: the proof of "once per cluster". */
export interface RegistryByteCounter {
  registryBytes(bytes: number): void;
}
export const RegistryByteCounter = Symbol('RegistryByteCounter');
