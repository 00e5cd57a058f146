//! The steps of a course's flow, and the mails that it ends with.
//!
//! All of them block, and each may run twice: it writes the same files again, every one of them whole at any time.
// Handlers own what they are given.
#![allow(clippy::needless_pass_by_value)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};
use windlass::{Context, FlowStep, Job, JobError};

use crate::files::{remove_all, write_json, write_whole};
use crate::uploads::{self, read_frame};

/// Where everything lies, and who has to be told.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) folder: PathBuf,
    pub(crate) students: Vec<String>,
}

impl App {
    fn upload(&self, course: &str) -> PathBuf {
        self.folder.join("uploads").join(course)
    }

    /// What becomes of the upload. The course is published once there is a manifest in it.
    fn course(&self, course: &str) -> PathBuf {
        self.folder.join("courses").join(course)
    }
}

/// Looks at the frames, and makes the course's folder.
#[derive(Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) course: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Video {
    frames: u32,
    width: u32,
    height: u32,
}

impl Job for Probe {
    const KIND: &'static str = "probe";
    const QUEUE: &'static str = "courses";
    type Output = Video;
}

impl FlowStep for Probe {
    type Input = ();
}

pub(crate) fn probe(job: Probe, cx: Context<App>) -> Result<Video, JobError> {
    let upload = cx.app().upload(&job.course);
    let mut video = Video { frames: 0, width: 0, height: 0 };
    for frame in (0..).map(|no| uploads::frame(&upload, no)).take_while(|frame| frame.exists()) {
        let (width, height) = ImageReader::open(&frame)?.into_dimensions().map_err(JobError::permanent)?;
        if video.frames > 0 && (width, height) != (video.width, video.height) {
            return Err(JobError::permanent(format!("frame {} is of another size", video.frames)));
        }
        video = Video { frames: video.frames + 1, width, height };
    }
    if video.frames == 0 {
        return Err(JobError::permanent("there are no frames"));
    }
    fs::create_dir_all(cx.app().course(&job.course))?;
    Ok(video)
}

/// Makes the video as high as this, in one file: a JPEG for each frame, and four bytes of its length before it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Transcode {
    pub(crate) course: String,
    pub(crate) height: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Rendition {
    file: String,
    width: u32,
    height: u32,
    frames: u32,
}

impl Job for Transcode {
    const KIND: &'static str = "transcode";
    const QUEUE: &'static str = "video";
    type Output = Rendition;
}

impl FlowStep for Transcode {
    type Input = Video;
}

pub(crate) fn transcode(job: Transcode, cx: Context<App>) -> Result<Rendition, JobError> {
    let video = cx.input_blocking::<Transcode>()?;
    let (width, height) = (video.width * job.height / video.height, job.height);
    let (upload, file) = (cx.app().upload(&job.course), format!("{height}p.frames.gz"));
    write_whole(&cx.app().course(&job.course).join(&file), |out| {
        // Small JPEGs are half tables, which are the same in each.
        let mut out = GzEncoder::new(out, Compression::default());
        for no in 0..video.frames {
            if cx.is_cancelled() {
                return Err(JobError::from("stopped between two frames"));
            }
            let frame = read_frame(&upload, no)?.resize_exact(width, height, FilterType::Triangle);
            let jpeg = jpeg(&frame)?;
            out.write_all(&u32::try_from(jpeg.len())?.to_le_bytes())?;
            out.write_all(&jpeg)?;
            cx.progress(&(no + 1))?;
        }
        out.finish()?;
        Ok(Rendition { file, width, height, frames: video.frames })
    })
}

fn jpeg(picture: &DynamicImage) -> Result<Vec<u8>, JobError> {
    let mut jpeg = Cursor::new(Vec::new());
    picture.write_to(&mut jpeg, ImageFormat::Jpeg)?;
    Ok(jpeg.into_inner())
}

/// Makes a small picture of the first frame.
#[derive(Serialize, Deserialize)]
pub(crate) struct MakeThumbnail {
    pub(crate) course: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Thumbnail {
    file: String,
    width: u32,
    height: u32,
}

impl Job for MakeThumbnail {
    const KIND: &'static str = "thumbnail";
    const QUEUE: &'static str = "courses";
    type Output = Thumbnail;
}

impl FlowStep for MakeThumbnail {
    type Input = ();
}

pub(crate) fn make_thumbnail(job: MakeThumbnail, cx: Context<App>) -> Result<Thumbnail, JobError> {
    let small = read_frame(&cx.app().upload(&job.course), 0)?.thumbnail(160, 160);
    let file = "thumbnail.jpg".to_owned();
    let jpeg = jpeg(&small)?;
    write_whole(&cx.app().course(&job.course).join(&file), |out| out.write_all(&jpeg))?;
    Ok(Thumbnail { file, width: small.width(), height: small.height() })
}

/// Counts the words that are said, and lists the lines in which each one is.
#[derive(Serialize, Deserialize)]
pub(crate) struct IndexWords {
    pub(crate) course: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Transcript {
    file: String,
    words: usize,
    different_words: usize,
}

impl Job for IndexWords {
    const KIND: &'static str = "transcript";
    const QUEUE: &'static str = "courses";
    type Output = Transcript;
}

impl FlowStep for IndexWords {
    type Input = ();
}

pub(crate) fn index_words(job: IndexWords, cx: Context<App>) -> Result<Transcript, JobError> {
    let text = fs::read(uploads::words(&cx.app().upload(&job.course)))?;
    let text = String::from_utf8(text).map_err(JobError::permanent)?;
    let (mut words, mut index) = (0, BTreeMap::<String, Vec<usize>>::new());
    for (no, line) in (1..).zip(text.lines()) {
        for word in line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
            words += 1;
            let lines = index.entry(word.to_lowercase()).or_default();
            if lines.last() != Some(&no) {
                lines.push(no);
            }
        }
    }
    let file = "transcript.json".to_owned();
    write_json(&cx.app().course(&job.course).join(&file), &index)?;
    Ok(Transcript { file, words, different_words: index.len() })
}

/// The batch of the mails.
pub(crate) const MAILS: &str = "tell-students";

/// Writes the manifest, and has every student told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Publish {
    pub(crate) course: String,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    course: String,
    renditions: Vec<Rendition>,
    thumbnail: Thumbnail,
    transcript: Option<Transcript>,
}

impl Job for Publish {
    const KIND: &'static str = "publish";
    const QUEUE: &'static str = "courses";
    type Output = ();
}

impl FlowStep for Publish {
    type Input = (Vec<Rendition>, Thumbnail, Option<Transcript>);
}

pub(crate) fn publish(job: Publish, cx: Context<App>) -> Result<(), JobError> {
    let (renditions, thumbnail, transcript) = cx.input_blocking::<Publish>()?;
    let path = cx.app().course(&job.course).join("manifest.json");
    let manifest = Manifest { course: job.course, renditions, thumbnail, transcript };
    write_json(&path, &manifest)?;
    let mails = cx.batch_blocking(MAILS)?;
    for student in &cx.app().students {
        // In the commit of this step's end: all of them once it is done, none before.
        mails.follow_up(&Mail { student: student.clone(), course: manifest.course.clone() })?;
    }
    Ok(())
}

/// Undoes [`Probe`]: removes the course's folder with all that the other steps left in it, unfinished files too.
#[derive(Serialize, Deserialize)]
pub(crate) struct Discard {
    pub(crate) course: String,
}

impl Job for Discard {
    const KIND: &'static str = "discard";
    const QUEUE: &'static str = "courses";
    type Output = ();
}

impl FlowStep for Discard {
    type Input = Video;
}

pub(crate) fn discard(job: Discard, cx: Context<App>) -> Result<(), JobError> {
    Ok(remove_all(&cx.app().course(&job.course))?)
}

/// Tells one student of one course.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mail {
    student: String,
    course: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mails";
    type Output = ();
}

pub(crate) fn mail(job: Mail, cx: Context<App>) -> Result<(), JobError> {
    let Mail { student, course } = job;
    let folder = cx.app().folder.join("mails").join(&student);
    fs::create_dir_all(&folder)?;
    // The name says what it is: at a second try it is the same mail.
    write_whole(&folder.join(format!("{course}.txt")), |out| {
        writeln!(out, "To: {student}\nSubject: A new course: {course}\n\nIt is there for you.")
    })?;
    Ok(())
}
