import { z } from 'zod';

export const RUNTIME_PATH = '/peer/v1/runtime';
/** Images in one question. */
export const MAX_IMAGES = 256;

/** Those of the images asked about that the node's runtime has. */
export const runtimeAnswerSchema = z.object({ images: z.array(z.string().max(1024)).max(MAX_IMAGES) });
