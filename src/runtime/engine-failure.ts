import { PreheatFailure } from '../domain/errors.js';
import type { FailureReason } from '../domain/preheat-state.js';

const MAX_MESSAGE_LENGTH = 300;

/**
 * What an engine said went wrong. Engines have no codes for it, so their words must do.
 * @param engine its name, for the message
 * @param name what to keep out of the message: the loopback name holds the nonce of a pull
 */
export function failureFromText(engine: string, explanation: string, name?: string): PreheatFailure {
  return new PreheatFailure(reasonOfText(explanation), `${engine}: ${presentable(explanation, name)}`);
}

function reasonOfText(text: string): FailureReason {
  if (/no space left on device|disk quota exceeded/i.test(text)) return 'insufficient_disk';
  const platform =
    /no matching manifest for|no match for platform|cannot be used on this platform|does not (?:match|provide) the specified platform/i;
  return platform.test(text) ? 'platform_not_supported' : 'runtime_error';
}

function presentable(text: string, name: string | undefined): string {
  const [repository = ''] = (name ?? '').split('@');
  const anonymous = repository === '' ? text : text.replaceAll(repository, 'the image');
  // eslint-disable-next-line no-control-regex -- that is the point: they would forge log lines
  const clean = anonymous.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ').trim();
  return clean.length > MAX_MESSAGE_LENGTH ? `${clean.slice(0, MAX_MESSAGE_LENGTH)}…` : clean;
}
